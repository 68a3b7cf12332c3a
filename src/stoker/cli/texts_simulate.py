"""What ``stoker simulate`` and ``stoker tune-policy`` say in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

SIMULATE: Mapping[str, str] = {
    "default": "默认",
    "default: {value}": "默认：{value}",
    "{trace}: {jobs} jobs over {span} on {nodes} nodes with {devices} devices":
        "{trace}：{jobs} 个作业，历时 {span}，{nodes} 个节点，{devices} 个加速器",
    "jobs ended": "已结束的作业",
    "allocation": "分配率",
    "idle while jobs wait": "有作业等待时的空闲",
    "free on partly held nodes": "部分占用节点上的空闲",
    "completion time, mean": "完成时间，平均",
    "completion time, median": "完成时间，中位数",
    "completion time, 95th percentile": "完成时间，95 分位",
    "queueing, mean": "排队时间，平均",
    "queueing, 95th percentile": "排队时间，95 分位",
    "slowdown, mean": "减速比，平均",
    "makespan": "总时长",
    "preemptions": "抢占次数",
    "work done twice, device hours": "重复计算，卡时",
    "spent in starts, device hours": "启动开销，卡时",
    "deadlines missed": "错过截止时间",
    "fairness over tenants (Jain)": "租户公平性（Jain）",
    "{count} could never run there: {why}": "{count} 个作业无法在此运行：{why}",
    "written: {path}": "已写入：{path}",
    "en": "zh",
    "jobs that were searched on": "用于搜索的作业",
    "jobs that were not seen": "未见过的作业",
    "as it is": "当前策略",
    "best of {trials}": "{trials} 次中最优",
    "nothing that was tried is better: keep the policy as it is": "没有找到更好的设置：保持当前策略",
    "{changes} was best in the search, and gains {gain} on unseen jobs: keep the policy as it is":
        "{changes} 在搜索数据上最优，但在未见过的作业上收益为 {gain}：保持当前策略",
    "{changes} gains {gain} on unseen jobs": "{changes} 在未见过的作业上收益 {gain}",
    "Simulation of {trace}": "{trace} 的仿真",
    "devices held": "占用的加速器",
    "jobs that wait": "等待的作业",
    "share of jobs done within a completion time": "在给定完成时间内结束的作业比例",
    "hours": "小时",
    "jobs": "作业",
    "share": "比例",
}  # fmt: skip
