"""Explanations in words, English and Chinese. The command line and the console say the same with them."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.cluster import WHOLE
from stoker.explanation import Because, Cause, Change, ChangeKind, Refusal, Value
from stoker.units import duration_in, format_bytes

LANGUAGES = ("en", "zh")

_BOTH = Mapping[str, tuple[str, str]]  # key -> English, Chinese

_ASKED: _BOTH = {
    "devices": ("{count} × {models}", "{count} × {models}"),
    "any": ("{count} devices", "{count} 个加速器"),
    "one": ("1 device", "1 个加速器"),
    "share": ("{share} of a device", "{share} 个加速器"),
    "share_of": ("{share} × {models}", "{share} × {models}"),
    "cpus": ("{cpus} CPUs", "{cpus} 个 CPU"),
    "memory": ("{cpus} CPUs and {memory}", "{cpus} 个 CPU 和 {memory} 内存"),
    "nodes": ("{asked} on each of {nodes} nodes", "{nodes} 个节点各 {asked}"),
}

_WHOSE: _BOTH = {
    "seen": ("job {job}", "作业 {job}"),
    "hidden": ("a job of another tenant", "其他租户的作业"),
}

_CAUSES: _BOTH = {
    "starting": ("nothing keeps it: it starts with the next pass", "没有障碍：下一轮调度即启动"),
    "undecided": (
        "no scheduling pass of this process has looked at it yet",
        "本进程尚未对它做过调度决策",
    ),
    "dependency": ("it waits for other jobs ({jobs})", "等待其他作业（{jobs}）"),
    "dependency.never": (
        "what it depends on can no longer come true ({jobs})",
        "所依赖的条件已不可能满足（{jobs}）",
    ),
    "begin_time": ("it is tried again in {in}, after attempt {attempt}", "第 {attempt} 次尝试之后，{in}后重试"),
    "array_limit": (
        "{limit} of its array run already, as many as the array's limit allows",
        "所属数组已有 {limit} 个在运行，达到数组并发上限",
    ),
    "quota": ("a limit keeps it: {message}", "受限额约束：{message}"),
    "quota.ceiling": (
        'queue "{queue}" may hold {most} devices and holds {held}; this job wants {wanted}',
        "队列“{queue}”最多占用 {most} 个加速器，已占用 {held} 个；本作业需要 {wanted} 个",
    ),
    "quota.deserved": (
        'queue "{queue}" borrows nothing and holds {held} of the {most} devices it deserves; wanted are {wanted}',
        "队列“{queue}”不可借用，应得 {most} 个加速器，已占用 {held} 个；本作业需要 {wanted} 个",
    ),
    "quota.models": (
        'queue "{queue}" holds as many {models} as it may',
        "队列“{queue}”占用的 {models} 已达上限",
    ),
    "quota.user_devices": (
        'its owner holds {held} of the {most} devices that one user may in queue "{queue}"; wanted are {wanted}',
        "队列“{queue}”中单个用户最多占用 {most} 个加速器，提交者已占用 {held} 个；本作业需要 {wanted} 个",
    ),
    "quota.user_jobs": (
        'its owner has {held} jobs running, as many as one user may in queue "{queue}"',
        "提交者已有 {held} 个作业在运行，达到队列“{queue}”的单用户上限",
    ),
    "preempting": ("others are being ended for it: {giving_way}", "正在为它结束其他作业：{giving_way}"),
    "engine_away": (
        'engine "{engine}", which could hold it, does not answer: {why}',
        "能容纳它的引擎“{engine}”没有应答：{why}",
    ),
    "never": (
        "it needs {asked}; of {nodes_there} nodes {could} could ever hold their part",
        "需要 {asked}；{nodes_there} 个节点中只有 {could} 个放得下",
    ),
    "drained": (
        "it needs {asked}; {count} nodes that could hold it take no new work ({node}: {why})",
        "需要 {asked}；能容纳它的 {count} 个节点不接受新作业（{node}：{why}）",
    ),
    "taints": (
        "it needs {asked}; {count} nodes that could hold it are kept for jobs that tolerate {why}",
        "需要 {asked}；能容纳它的 {count} 个节点只留给容忍污点 {why} 的作业",
    ),
    "failed_devices": (
        "it needs {asked}; {count} nodes that could hold it have devices that failed ({node})",
        "需要 {asked}；能容纳它的 {count} 个节点上有故障加速器（{node}）",
    ),
    "reservation": (
        "there is room, kept for {whose} ({asked}), which begins in {in} at the latest",
        "有空位，但为{whose}（{asked}）预留，它最迟{in}后开始",
    ),
    "reservation.endless": (
        "there is room, kept for {whose}, which waits for a job without a time limit",
        "有空位，但为{whose}预留，而它在等一个没有时间上限的作业",
    ),
    "priority": ("there is room, and those ahead of it take it", "有空位，但排在前面的作业先用"),
    "topology": (
        "it needs {asked} in one {level}; {roomy} nodes have room for their part, at most {largest} in one {level}",
        "需要 {asked}，且在同一 {level} 内；{roomy} 个节点放得下，但同一 {level} 内最多 {largest} 个",
    ),
    "topology.within": (
        "it needs {asked}, joined by {level}; {roomy} nodes have enough free devices, and not joined so",
        "需要 {asked}，且由 {level} 相连；{roomy} 个节点空闲数量足够，但并不这样相连",
    ),
    "fragmentation": (
        "it needs {asked}; {free} of {total} devices are free, but in slivers: at most {largest} on one node",
        "需要 {asked}；{total} 个加速器中空闲 {free} 个，但很零散：单个节点最多 {largest} 个",
    ),
    "fragmentation.starved": (
        "it needs {asked}; {free} of {total} devices are free, but {starved} nodes lack CPUs or memory beside them",
        "需要 {asked}；{total} 个加速器中空闲 {free} 个，但其中 {starved} 个节点缺 CPU 或内存",
    ),
    "fragmentation.nodes": (
        "it needs {asked}; {free} of {total} devices are free, but only {whole} nodes have enough of them",
        "需要 {asked}；{total} 个加速器中空闲 {free} 个，但只有 {whole} 个节点数量足够",
    ),
    "fragmentation.cpus": (
        "it needs {asked}; {free_cpus} of {total_cpus} CPUs are free, at most {largest_cpus} on one node",
        "需要 {asked}；{total_cpus} 个 CPU 中空闲 {free_cpus} 个，单个节点最多 {largest_cpus} 个",
    ),
    "fragmentation.memory": (
        "it needs {asked}; {free_memory} of memory is free in total, at most {largest_memory} on one node",
        "需要 {asked}；内存共空闲 {free_memory}，单个节点最多 {largest_memory}",
    ),
    "resources": (
        "it needs {asked}; {free} of the {total} devices that it could use are free",
        "需要 {asked}；可用的 {total} 个加速器中空闲 {free} 个",
    ),
    "resources.cpus": (
        "it needs {asked}; {free_cpus} of {total_cpus} CPUs are free, at most {largest_cpus} on one node",
        "需要 {asked}；{total_cpus} 个 CPU 中空闲 {free_cpus} 个，单个节点最多 {largest_cpus} 个",
    ),
    "resources.memory": (
        "it needs {asked}; {free_memory} of memory is free in total, at most {largest_memory} on one node",
        "需要 {asked}；内存共空闲 {free_memory}，单个节点最多 {largest_memory}",
    ),
    "resources.exclusive": (
        "it needs {asked} and the nodes to itself; on all that could hold it something runs",
        "需要独占 {asked}；能容纳它的节点上都有作业在运行",
    ),
}

_CHANGES: _BOTH = {
    "shorter": (
        "a time limit of {limit}: it is done before what is kept for another begins",
        "时间上限改为 {limit}：在预留开始之前结束",
    ),
    "tolerate": ("tolerate the taint {taint}", "容忍污点 {taint}"),
    "model": ("take {model} as well as {models}", "除 {models} 外也接受 {model}"),
    "queue": ("queue {queue} instead of {was}", "改用队列 {queue}（原 {was}）"),
    "engine": ("any engine and site", "不限引擎与站点"),
    "cpus": ("{cpus} CPUs on each node instead of {was}", "每节点 {cpus} 个 CPU（原 {was}）"),
    "memory": ("{memory} of memory on each node instead of {was_bytes}", "每节点内存 {memory}（原 {was_bytes}）"),
    "shared": ("not whole nodes for itself", "不独占节点"),
    "devices": ("{devices} devices on each node instead of {was}", "每节点 {devices} 个加速器（原 {was}）"),
    "nodes": ("{nodes} nodes instead of {was}", "{nodes} 个节点（原 {was}）"),
    "priority": ("priority {priority} instead of {was}", "优先级 {priority}（原 {was}）"),
    "array": ("an array limit of {limit} instead of {was}", "数组并发上限 {limit}（原 {was}）"),
    "wait": (
        "nothing but time: in {in} what runs has reached its limits",
        "只需等待：{in}后在运行的作业都已到时限",
    ),
    "topology": ("not necessarily in one {level}", "不强求在同一 {level} 内"),
}

_OPTIONS: Mapping[ChangeKind, str] = {
    ChangeKind.SHORTER: "--time {minutes:.0f}",
    ChangeKind.TOLERATE: "--tolerate {taint}",
    ChangeKind.QUEUE: "--queue {queue}",
    ChangeKind.CPUS: "--cpus {cpus}",
    ChangeKind.MEMORY: "--mem {mebibytes}M",
    ChangeKind.NODES: "--nodes {nodes}",
    ChangeKind.PRIORITY: "--priority {priority}",
    ChangeKind.TOPOLOGY: "--topology {topology}",
}

_REFUSALS: _BOTH = {
    "away": ("engine away", "引擎失联"),
    "elsewhere": ("not its engine or site", "引擎或站点不符"),
    "model": ("wrong model", "型号不符"),
    "failed": ("failed devices", "加速器故障"),
    "small": ("too small", "规格过小"),
    "taint": ("taint", "污点"),
    "drained": ("drained", "已排空"),
    "occupied": ("not empty", "非空闲"),
    "devices": ("too few free devices", "空闲加速器不足"),
    "cpus": ("too few free CPUs", "空闲 CPU 不足"),
    "memory": ("too little free memory", "空闲内存不足"),
    "slots": ("too many jobs there", "作业数已满"),
    "topology": ("not joined as asked", "拓扑不符"),
    "reserved": ("reserved", "已预留"),
    "free": ("free for it", "可用"),
}


def cause_in(language: str, because: Because) -> str:
    """The cause as one sentence."""
    values = because.values
    key = _variant(because)
    shown = _shown(language, values) | {"asked": asked_in(language, values), "whose": _whose(language, values)}
    return _say(_CAUSES, language, key).format(**shown)


def change_in(language: str, change: Change) -> str:
    """What is different, without the option that says so."""
    return _say(_CHANGES, language, change.kind).format(**_shown(language, change.values))


def option_of(change: Change) -> str:
    """The option of ``stoker run`` that asks for it; empty where there is none."""
    values = change.values
    if change.kind in (ChangeKind.DEVICES, ChangeKind.MODEL):
        return _gpus(change)
    minutes, memory = float(values.get("limit_s", 0)) / 60, int(values.get("memory_bytes", 0)) >> 20
    return _OPTIONS.get(change.kind, "").format(**values, minutes=minutes, mebibytes=memory)


def refusal_in(language: str, refusal: Refusal) -> str:
    """What a node lacks, in a word or two."""
    return _say(_REFUSALS, language, refusal)


def asked_in(language: str, values: Mapping[str, Value]) -> str:
    """What one job asks for: ``8 × H100 on each of 4 nodes``."""
    count, models = int(values.get("devices", 0)), values.get("models", "")
    share = int(values.get("milli", WHOLE))
    if not count:
        asked = _say(_ASKED, language, "memory" if "memory_bytes" in values else "cpus")
    elif share < WHOLE:
        asked = _say(_ASKED, language, "share_of" if models else "share")
    elif models:
        asked = _say(_ASKED, language, "devices")
    else:
        asked = _say(_ASKED, language, "one" if count == 1 else "any")
    told = asked.format(
        count=count,
        models=models,
        share=f"{share / WHOLE:g}",
        cpus=values.get("cpus", 0),
        memory=format_bytes(float(values.get("memory_bytes", 0))),
    )
    nodes = int(values.get("nodes", 1))
    return told if nodes == 1 else _say(_ASKED, language, "nodes").format(asked=told, nodes=nodes)


def _whose(language: str, values: Mapping[str, Value]) -> str:
    job = values.get("job", "")
    return _say(_WHOSE, language, "seen" if job else "hidden").format(job=job)


def _variant(because: Because) -> str:
    """Which sentence of a cause fits its values."""
    cause, values = because.cause, because.values
    variant = ""
    match cause:
        case Cause.DEPENDENCY if values.get("never"):
            variant = "never"
        case Cause.QUOTA:
            variant = str(values.get("limit", ""))
        case Cause.TOPOLOGY if values.get("within"):
            variant = "within"
        case Cause.RESERVATION if "in_s" not in values:
            variant = "endless"
        case Cause.RESOURCES | Cause.FRAGMENTATION if "free" not in values:
            variant = "memory" if "free_memory_bytes" in values else "cpus"
        case Cause.FRAGMENTATION if values.get("starved"):
            variant = "starved"
        case Cause.FRAGMENTATION if values.get("whole"):
            variant = "nodes"
    if cause is Cause.RESOURCES and values.get("exclusive"):
        variant = "exclusive"
    key = f"{cause}.{variant}"
    return key if key in _CAUSES else str(cause)


def _shown(language: str, values: Mapping[str, Value]) -> dict[str, str]:
    """Values as people read them, named without their unit."""
    shown: dict[str, str] = {}
    for name, value in values.items():
        if name.endswith("_s") and not isinstance(value, str):
            shown[name.removesuffix("_s")] = duration_in(language, value)
        elif name.endswith("_bytes") and not isinstance(value, str):
            shown[name] = shown[name.removesuffix("_bytes")] = format_bytes(value)
        else:
            shown[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return shown


def _gpus(change: Change) -> str:
    values = change.values
    names = [str(values.get("models", "")), str(values.get("model", ""))]
    models = "|".join(name.replace(" or ", "|") for name in names if name)
    if not models:
        return f"--gpus {values['devices']}"
    return f"--gpus '{models}:{values['devices']}'" if "|" in models else f"--gpus {models}:{values['devices']}"


def _say(texts: _BOTH, language: str, key: str) -> str:
    return texts[key][LANGUAGES.index(language) if language in LANGUAGES else 0]
