"""What the command line's reports say in Chinese. The English text is the key; a test holds the two together."""

from __future__ import annotations

import os
from collections.abc import Mapping

from stoker.cli.texts_help import HELP
from stoker.cli.texts_plan import PLAN
from stoker.cli.texts_simulate import SIMULATE
from stoker.errors import BadInput

LANGUAGES = ("en", "zh")
_language = "en"


def use(given: str = "") -> None:
    """Speak `given`, or what the environment asks for."""
    global _language  # noqa: PLW0603 - one process runs one command line
    if given and _short(given) not in LANGUAGES:
        raise BadInput(f'--lang "{given}" was given; allowed are {", ".join(LANGUAGES)}')
    wishes = (given, *(os.environ.get(name, "") for name in ("STOKER_LANG", "LC_ALL", "LC_MESSAGES", "LANG")))
    wanted = next((_short(wish) for wish in wishes if wish), "en")
    _language = wanted if wanted in LANGUAGES else "en"


def language() -> str:
    """The caller's language: one of `LANGUAGES`."""
    return _language


def t(text: str, **values: object) -> str:
    """`text` in the caller's language, with its ``{places}`` filled."""
    if _language == "zh":
        text = ZH.get(text, text)
    return text.format(**values) if values else text


def helped(text: str) -> str:
    """A text of the help in the caller's language; what nobody has translated stays as it is."""
    return HELP.get(text, text) if _language == "zh" else text


def word(value: str) -> str:
    """A state, metric or reason for people; one nobody has translated stays as it is."""
    plain = value.replace("_", " ")
    return ZH.get(value, ZH.get(plain, plain)) if _language == "zh" else plain


def _short(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].partition(".")[0].lower()


ZH: Mapping[str, str] = {
    # up, login, keys, files
    "devices {devices}, CPUs {cpus}, nodes {nodes}": "{devices} 张加速卡，{cpus} 个 CPU，{nodes} 个节点",
    "state {path}": "状态目录 {path}",
    "notebooks": "笔记本",
    "console": "控制台",
    "admin key (shown once)": "管理员密钥（仅显示一次）",
    "Ctrl-C stops; jobs go on": "按 Ctrl-C 停止；作业继续运行",
    "stopped; jobs go on": "已停止；作业继续运行",
    "this user is logged in with it: {path}": "已为当前用户登录：{path}",
    "this user is logged in at the new address": "当前用户的登录已指向新地址",
    "to use it in another terminal: stoker login {url}": "在另一个终端中使用：stoker login {url}",
    "API key: ": "API 密钥：",
    "logged in to {url} as {name} ({role}, tenant {tenant}); kept in {path}":
        "已以 {name}（{role}，租户 {tenant}）登录 {url}；保存在 {path}",
    "key {id} for {name} ({role}, tenant {tenant}); shown once:":
        "{name} 的密钥 {id}（{role}，租户 {tenant}），仅显示一次：",
    "revoked": "已吊销",
    "revoked {id}": "已吊销 {id}",
    "deleted {id}": "已删除 {id}",
    # jobs
    "no job waits or runs; those that have ended: stoker jobs -a":
        "没有排队或运行中的作业；已结束的作业：stoker jobs -a",
    "job {label} {state}{ran}{code}": "作业 {label} {state}{ran}{code}",
    " after {time}": "，运行了 {time}",
    ", exit code {code}": "，退出码 {code}",
    "job {label} goes on; again: stoker logs -f {label}, stop: stoker cancel {label}":
        "作业 {label} 继续运行；再次查看：stoker logs -f {label}，取消：stoker cancel {label}",
    "cancelled: {jobs}": "已取消：{jobs}",
    "had ended before: {jobs}": "此前已结束：{jobs}",
    "cancelled {id}; to go on with it: stoker ship --resume {id}":
        "已取消 {id}；继续执行：stoker ship --resume {id}",
    "job": "作业",
    "state": "状态",
    "exit code": "退出码",
    "owner": "提交者",
    "runs": "命令",
    "script": "脚本",
    "asks for": "申请资源",
    "any device": "任意加速卡",
    "{count} nodes": "{count} 个节点",
    "on": "节点",
    "devices": "加速卡",
    "submitted": "提交时间",
    "started": "开始时间",
    "ended": "结束时间",
    "last saved": "最近保存",
    "ran for": "运行时长",
    "time limit": "时间上限",
    "priority": "优先级",
    "queue": "队列",
    "depends on": "依赖",
    "folder": "工作目录",
    "shipment": "交付任务",
    "WHEN": "时间",
    "ATTEMPT": "次数",
    "REASON": "原因",
    # why a job waits
    'job {label} "{name}" waits since {span}': "作业 {label}“{name}”已等待 {span}",
    "Starts": "预计启动",
    "Or now": "立即启动",
    "Held by": "占用者",
    "Preempts": "抢占",
    "{victim}: {loss}": "{victim}：{loss}",
    "a job of somebody else, {what}": "他人的作业，{what}",
    '{job} "{name}" of {owner}, {what}': "{job}“{name}”（{owner}），{what}",
    "Ahead": "排在前面",
    "Nodes": "节点",
    "not known: it hangs on a job without a time limit": "未知：取决于没有时间上限的作业",
    "Sooner": "更早启动",
    "it can no longer keep its deadline: it had to begin by {at}": "已无法按期完成：须在 {at} 前启动",
    "it is likely to miss its deadline: it has to begin by {at}": "可能无法按期完成：须在 {at} 前启动",
    "it is likely to keep its deadline: it has to begin by {at}": "预计可按期完成：须在 {at} 前启动",
    "not known: waiting alone does not help": "未知：仅靠等待无济于事",
    "about {at} (in {span})": "约 {at}（{span}后）",
    ", eight of ten between {low} and {high}": "，八成把握在 {low} 至 {high}",
    "; at {at} if what runs uses its whole limit": "；若在运行的作业用满时间上限则为 {at}",
    "tried: at {at} it starts by itself, unless others come first":
        "已试算：到 {at} 它会自行启动，除非有其他作业先到",
    "how good such forecasts are is not measured yet: {count} compared so far":
        "此类预测的误差尚未测得：目前仅比对了 {count} 次",
    "measured on {count} forecasts: jobs waited {middle} of what was predicted ({low} to {high})":
        "实测 {count} 次预测：实际等待为预测的 {middle}（{low} 至 {high}）",
    " (on {where})": "（{where}）",
    "a job of somebody else: {what}, {until}": "他人的作业：{what}，{until}",
    "and {count} more": "另有 {count} 个",
    '{job} "{name}" of {owner}{where}: {what}, {until}': "{job}“{name}”（{owner}{where}）：{what}，{until}",
    "1 device": "1 张加速卡",
    "{count} devices": "{count} 张加速卡",
    "{count} CPUs": "{count} 个 CPU",
    "no time limit": "无时间上限",
    "until {at} at the latest": "最迟到 {at}",
    "nobody: it is first in line": "无：排在第一",
    "in line before it: {ahead}; that want the same nodes: {rivals}":
        "排在前面的作业：{ahead}；其中要用相同节点的：{rivals}",
    '{job} "{name}" of {owner}: priority {priority}, {what}': "{job}“{name}”（{owner}）：优先级 {priority}，{what}",
    "no device": "不用加速卡",
    "no single change that was tried starts it now": "所试的单项改动都不能让它立即启动",
    "NODE": "节点",
    "ENGINE": "引擎",
    "CPUS": "CPU",
    "MEMORY": "内存",
    "LACKS": "缺少",
    "FREE": "空闲",
    "WHY": "说明",
    # states of jobs
    "pending": "排队中",
    "starting": "启动中",
    "running": "运行中",
    "stopping": "正在停止",
    "succeeded": "成功",
    "failed": "失败",
    "degraded": "降级",
    "{count} nodes: {levels}; {here} of them are in the pool": "{count} 个节点：{levels}；其中 {here} 个在资源池中",
    "nothing is known; say it with: stoker nodes topology apply -f FILE":
        "尚无拓扑信息；可用 stoker nodes topology apply -f FILE 给出",
    "forgotten": "已清除",
    "cancelled": "已取消",
    "timeout": "超时",
    "out_of_memory": "内存不足",
    "preempted": "被抢占",
    "node_fail": "节点故障",
    # reasons for which records are dropped
    "empty": "空记录",
    "no answer": "没有回答",
    "exact duplicate": "完全重复",
    "near duplicate": "近似重复",
    "short doc": "过短",
    "long doc": "过长",
    "not text": "不是文本",
    "broken utf8": "UTF-8 编码错误",
    "bad json": "JSON 错误",
    "nul byte": "含 NUL 字节",
    "bad row": "行格式错误",
    "bad roles": "对话角色错误",
    "unknown columns": "列名无法识别",
    "over limit": "超过长度上限",
    "not messages": "不是对话",
    "not an object": "不是 JSON 对象",
    "too many hashes": "井号过多",
    "too many bullets": "列表符号过多",
    "too many ellipsis": "省略号过多",
    "too many end ellipsis": "行末省略号过多",
    "too few sentences": "句子过少",
    "enough stop words": "常用词过少",
    "below alpha threshold": "字母词过少",
    "below avg threshold": "平均词长过短",
    "above avg threshold": "平均词长过长",
    "lorem ipsum": "占位文字",
    "curly bracket": "含花括号",
    # nodes
    "idle": "空闲",
    "busy": "使用中",
    "drained": "已停止调度",
    "leaves for {engine}": "正在移往 {engine}",
    "comes from {engine}": "正从 {engine} 移入",
    "draining": "排空中",
    "opening": "启用中",
    "undoing": "回退中",
    "done": "完成",
    "undone": "已回退",
    "move {id}: {node} leaves {source} for {target}; see: stoker nodes moves":
        "迁移 {id}：{node} 从 {source} 移往 {target}；查看：stoker nodes moves",
    "move {id}: {node} stays on {source}; being put back": "迁移 {id}：{node} 留在 {source}；正在回退",
    "{node} takes no new work on {engine}": "{node} 在 {engine} 上不再接受新作业",
    "{node} gets no new work from here; {engine} is away and is told when it answers":
        "{node} 不再从此处接收新作业；{engine} 失联，恢复后会通知它",
    "{node} takes work again on {engine}": "{node} 在 {engine} 上恢复接受作业",
    "no automatic moves between {first} and {second}": "{first} 与 {second} 之间不再自动迁移",
    # why
    "Cause": "原因",
    "Remedy": "处理",
    # ship
    "uploading {path}": "正在上传 {path}",
    "waiting": "等待",
    "failed: {message}": "失败：{message}",
    "waits: {reason}": "排队：{reason}",
    "was there already": "已有结果，直接复用",
    "step {step}/{total}": "第 {step}/{total} 步",
    "others had the CPU {others} of the time it was wanted; of what is left it makes {share}":
        "其他进程占去所需 CPU 时间的 {others}；就剩下的部分达到 {share}",
    "expected {value} tok/s: {share}": "预期 {value} tok/s，达成 {share}",
    "about {time} left": "约剩 {time}",
    "{records} records   {kept} kept": "{records} 条记录   保留 {kept} 条",
    "{count} held out": "留出 {count} 条用于评测",
    "personal data masked in {count}": "{count} 条已脱敏",
    "{count} steps": "{count} 步",
    "{metric}   base {before}   new {after}": "{metric}   基座 {before}   新模型 {after}",
    "{value} {unit}, expected {due} ({low} to {high}): {share}":
        "{value} {unit}，预期 {due}（{low} 至 {high}）：达成 {share}",
    "version {version}": "版本 {version}",
    " (parent {parent})": "（父版本 {parent}）",
    "ready": "已就绪",
    "{equal} of {all} probe answers agree with the trained model":
        "{all} 个探测回答中有 {equal} 个与训练所得模型一致",
    "version {version} is {alias}": "版本 {version} 成为 {alias}",
    "before: version {version}": "此前：版本 {version}",
    'now serving as "{name}"   try it: stoker chat {name}   back: stoker models rollback {name}':
        "已上线，名称“{name}”   试用：stoker chat {name}   回滚：stoker models rollback {name}",
    "registered: {name} version {version}   serve it: stoker models promote {name} {version}":
        "已登记：{name} 版本 {version}   上线：stoker models promote {name} {version}",
    "{id} was cancelled; go on with it: stoker ship --resume {id}":
        "{id} 已取消；继续执行：stoker ship --resume {id}",
    "{id} goes on; watch it again: the same command, stop it: stoker cancel {id}":
        "{id} 继续执行；再次查看：重复同一命令，取消：stoker cancel {id}",
    "exact match": "完全匹配",
    "contains": "包含答案",
    "token f1": "词元 F1",
    "rouge l": "ROUGE-L",
    "score": "得分",
    # queue
    "there are no queues: all jobs stand in one line; see: stoker queue add":
        "尚无队列：所有作业排成一列；参见：stoker queue add",
    "queue {name} added": "已添加队列 {name}",
    "queue {name} changed": "已更改队列 {name}",
    "queue {name} removed": "已移除队列 {name}",
    "below": "上级队列",
    "tenants": "租户",
    "deserved": "应得配额",
    "ceiling": "上限",
    "weight": "超额权重",
    "used": "已用",
    "borrowed": "借用",
    "average": "近期平均",
    "owed": "待补偿",
    "{hours} device-hours": "{hours} 卡时",
    "each user": "每个用户",
    "preemptible for": "可被谁抢占",
    "patience": "最长等待",
    "windows": "时段",
    "next change": "下次变更",
    "Slurm partition": "Slurm 分区",
    "{held} of {capacity} devices of the pool": "{held} 个，资源池共 {capacity} 张加速卡",
    "{devices} devices in {jobs} jobs": "{jobs} 个作业，共 {devices} 张加速卡",
    "{devices} devices, half-life {time}": "{devices} 张加速卡，半衰期 {time}",
    "at most {devices} devices": "最多 {devices} 张加速卡",
    "at most {jobs} jobs": "最多 {jobs} 个作业",
    "anybody": "任何队列",
    "own": "仅本队列",
    "nobody": "不可抢占",
    # engine
    "engine {name} added: nodes {nodes}, devices {devices}":
        "已添加引擎 {name}：{nodes} 个节点，{devices} 张加速卡",
    "engine {name} removed": "已移除引擎 {name}",
    "nodes": "节点",
    "jobs": "作业",
    "where jobs run": "作业引擎",
    "site": "站点",
    "taints": "污点",
    "last answer": "最近应答",
    "jobs of others": "他人的作业",
    "times asked": "查询次数",
    "away: {why}": "失联：{why}",
    "answers": "正常",
    # models, endpoints, chat
    "model": "模型",
    "aliases": "别名",
    "base": "基座模型",
    "parent": "父版本",
    "engine": "推理引擎",
    "dataset": "数据集",
    "artifact": "产物",
    "created": "创建时间",
    "settings": "配置",
    "metrics": "指标",
    "{model} version {version} is {alias} now": "{model} 版本 {version} 现为 {alias}",
    ", before: version {version}": "，此前为版本 {version}",
    "endpoint": "端点",
    "version": "版本",
    "candidate": "候选版本",
    "replicas": "副本",
    "follows": "依据",
    "objective": "目标",
    "{load:g} requests at once for each replica": "每个副本同时处理 {load:g} 个请求",
    "first token within {span}": "首 token 不超过 {span}",
    "each further one within {span}": "此后每个 token 不超过 {span}",
    "the load needs no more than the floor": "负载不超过下限副本的能力",
    "the load needs more than the ceiling": "负载超过上限副本的能力",
    "can take back": "可收回",
    "{devices} devices for {replicas} more replicas within {span}; {free} of these are free now":
        "{devices} 张卡，可增 {replicas} 个副本，{span}内到位；其中 {free} 个现有空闲",
    "{replicas} more replicas within {span}; {free} of these need nobody to go":
        "可增 {replicas} 个副本，{span}内到位；其中 {free} 个无需他人让出",
    "nothing more now": "目前没有更多",
    "not measured yet: nobody had to go for it": "尚无实测：还没有作业为它让出",
    "measured, {count} times (p50 / p95): devices after {a} / {b}, answers after {c} / {d}":
        "实测 {count} 次（p50 / p95）：加速卡 {a} / {b} 后到位，{c} / {d} 后可应答",
    "{count} ready above the need": "另备 {count} 个就绪副本",
    "{count} sleep instead of going": "{count} 个副本休眠而不释放",
    "to none": "缩容到零",
    "after {idle} without a request; the next waits up to {hold}":
        "空闲 {idle} 后；下一个请求最多等待 {hold}",
    "what is in flight": "在途请求",
    "answers are slower than they should be": "响应慢于目标",
    "what is about to come": "预计到来的负载",
    "what was in flight a moment ago": "稳定窗口内的在途请求",
    "{name}: version {version} is being brought up; see: stoker endpoints show {name}":
        "{name}：版本 {version} 正在启动；查看：stoker endpoints show {name}",
    "{name} does not answer any more": "{name} 已下线",
    # notebooks
    "no notebook runs; start one: stoker notebook --gpus 1": "没有运行中的笔记本；启动：stoker notebook --gpus 1",
    "notebook {id}; its link, once it is ready: stoker notebook url {id}":
        "笔记本 {id}；就绪后查看链接：stoker notebook url {id}",
    "notebook {id} is ending": "笔记本 {id} 正在结束",
    "notebook {id} goes on; link: stoker notebook url {id}, stop: stoker notebook stop {id}":
        "笔记本 {id} 继续运行；链接：stoker notebook url {id}，停止：stoker notebook stop {id}",
    "its log: stoker logs {id}": "日志：stoker logs {id}",
    "never by itself": "不会自动结束",
    "after {time} without use": "空闲 {time} 后",
    "notebook {id} is ready; it ends {ends}; stop it: stoker notebook stop {id}":
        "笔记本 {id} 已就绪；自动结束：{ends}；停止：stoker notebook stop {id}",
    "notebook {id} waits{why}": "笔记本 {id} 正在排队{why}",
    "notebook {id} is starting on {node}": "笔记本 {id} 正在 {node} 上启动",
    "now": "使用中",
    "talking to {model}; Ctrl-D ends": "正在与 {model} 对话；按 Ctrl-D 结束",
    "stopped": "已停止",
    **PLAN,
    **SIMULATE,
}  # fmt: skip
