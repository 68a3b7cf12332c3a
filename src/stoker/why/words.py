"""What is said of jobs that run or have ended, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.units import duration_in


@dataclass(frozen=True)
class Words:
    """Sentences in one language."""

    language: str = "en"  # or zh

    def __call__(self, key: str, **values: object) -> str:
        return SENTENCES[key][self.language == "zh"].format(**values)

    def metric(self, name: str) -> str:
        """What is measured, in words; a job may name its own, which stays as it is."""
        key = f"metric.{name}"
        return self(key) if key in SENTENCES else f"{name} " if self.language == "zh" else name

    def span(self, seconds: float) -> str:
        return duration_in(self.language, max(0.0, seconds))


SENTENCES: Mapping[str, tuple[str, str]] = {
    "waits": ("waits since {span}", "已等待 {span}"),
    # at its engine
    "engine.away": ("bring the engine back; nothing is lost meanwhile", "恢复引擎连接；期间不会丢失任何内容"),
    "engine.handed": (
        "handed over to {engine} for {nodes}, attempt {attempt}",
        "已交给 {engine}，节点 {nodes}，第 {attempt} 次尝试",
    ),
    "engine.keeps": ("{engine} keeps it waiting since {span}: {reason}", "{engine} 让它等待了 {span}：{reason}"),
    "engine.QOS": (
        "a limit of its quality of service is reached: ask for less, use another QOS, or ask the Slurm admin",
        "已达到其服务质量（QOS）的限额：减少申请、换一个 QOS，或联系 Slurm 管理员",
    ),
    "engine.Assoc": (
        "a limit of its account is reached: ask for less, use another account, or ask the Slurm admin",
        "已达到其账户的限额：减少申请、换一个账户，或联系 Slurm 管理员",
    ),
    "engine.Reservation": (
        "the reservation is not active or does not hold these nodes; see: scontrol show reservation",
        "该预留未生效或不含这些节点；参见 scontrol show reservation",
    ),
    "engine.PartitionTimeLimit": (
        "ask for less time (--time), or for a partition that allows it",
        "缩短时限（--time），或换用允许该时限的分区",
    ),
    "engine.PartitionNodeLimit": (
        "ask for fewer nodes, or for a partition that allows as many",
        "减少节点数，或换用允许这么多节点的分区",
    ),
    "engine.PartitionDown": (
        "the partition is down; ask the Slurm admin, or use another queue",
        "分区已停用；联系 Slurm 管理员，或换用其他队列",
    ),
    "engine.PartitionInactive": (
        "the partition is inactive; ask the Slurm admin, or use another queue",
        "分区未激活；联系 Slurm 管理员，或换用其他队列",
    ),
    "engine.Licenses": ("it waits for a licence; it starts when one is free", "等待许可证，有空闲时即启动"),
    "engine.ReqNodeNotAvail": (
        "its node became unavailable after it was placed; in a while it is placed anew",
        "分配后节点变为不可用；稍后会重新分配",
    ),
    "engine.Resources": (
        "somebody else took the place meanwhile; in a while it is placed anew",
        "期间资源被他人占用；稍后会重新分配",
    ),
    "engine.Priority": (
        "the engine lets others go first; it starts when they have started",
        "引擎让其他作业先行；它们启动后即轮到它",
    ),
    "engine.ImagePull": (
        "the image cannot be pulled: check its name and the pull secret",
        "镜像无法拉取：检查镜像名和拉取凭据",
    ),
    "engine.ErrImage": (
        "the image cannot be pulled: check its name and the pull secret",
        "镜像无法拉取：检查镜像名和拉取凭据",
    ),
    "engine.Unschedulable": (
        "no node of the cluster takes it now; the message says which condition fails where",
        "集群中暂无节点可接纳它；消息中说明了哪里的哪个条件不满足",
    ),
    # running
    "starting": ("starting since {span}", "已启动 {span}"),
    "running": ("running since {span}", "已运行 {span}"),
    "stopping": ("stopping since {span}", "停止中，已运行 {span}"),
    "unmeasured": ("{since}; whether it is fast enough was not measured", "{since}；是否够快尚未测得"),
    "well": ("{since}; {measured}", "{since}；{measured}"),
    "slow": ("{since}, slower than it should be: {measured}", "{since}，比预期慢：{measured}"),
    "hangs": ("{since}, but {seen}", "{since}，但{seen}"),
    "measured": (
        "{name} {value}, expected {due}: {share}",
        "{name}实测 {value}，预期 {due}，达成 {share}",
    ),
    "metric.tokens_per_s": ("throughput", "吞吐"),
    "metric.samples_per_s": ("throughput", "吞吐"),
    "metric.step_s": ("time of a step", "单步耗时"),
    "metric.mfu": ("MFU", "算力利用率（MFU）"),
    "bounds": ("expected {low} to {high}", "预期范围 {low} 至 {high}"),
    "silent": (
        "it has made no step for {span}, and one took {usual}",
        "已有 {span} 没有新的训练步，而此前每步约 {usual}",
    ),
    "silent.remedy": (
        (
            "look at the end of its log and at its nodes: a rank that hangs, a disk or network that does not "
            "answer; cancel it and let it go on from its last checkpoint"
        ),
        "查看日志末尾及其节点：可能有 rank 卡死，或磁盘、网络无响应；取消后从最近的检查点续训",
    ),
    "taken": (
        (
            "others had the CPU {others} of the time it was wanted; with all of it, it would make about {alone}, "
            "{share} of what is expected, which {rest}"
        ),
        "它需要 CPU 的时间里有 {others} 被他人占用；若全部归它，约为 {alone}，达到预期的 {share}，{rest}",
    ),
    "taken.all": ("is as expected", "符合预期"),
    "taken.part": ("leaves a part unexplained", "仍有一部分未得到解释"),
    "taken.remedy": (
        "run less beside it: more CPUs for this job (--cpus), fewer for others, or another node",
        "减少同机的其他负载：给本作业更多 CPU（--cpus），给其他作业更少，或换一个节点",
    ),
    "slowed": (
        "it was {early} in its first steps and is {late} now",
        "最初若干步为 {early}，现在为 {late}",
    ),
    "slowed.remedy": (
        "see who came to its nodes meanwhile (stoker nodes), and whether clocks or temperatures changed",
        "查看期间有谁来到了它的节点（stoker nodes），以及频率或温度是否变化",
    ),
    "unexplained": (
        (
            "nothing that was measured explains it: compare its batch, layout and data loading with what it "
            "expected, and its node with others of the kind"
        ),
        "已有的测量无法解释：将其批大小、并行切分和数据加载与预期对照，并与同类节点比较",
    ),
    "loses.nothing": (
        "ended for others now, it loses nothing: it is told to save itself",
        "若现在为他人让出，不会损失工作：它会收到保存通知",
    ),
    "loses.saved": (
        "ended for others now, it loses {span} of work, since it last saved itself",
        "若现在为他人让出，将损失 {span} 的工作（自上次保存以来）",
    ),
    "loses.regular": (
        "ended for others now, it loses {span} of work, if it saves itself as often as it says",
        "若现在为他人让出，将损失 {span} 的工作（按其声明的保存间隔）",
    ),
    "loses.untold": (
        "ended for others now, it loses {span} of work: nothing tells of a checkpoint",
        "若现在为他人让出，将损失 {span} 的工作：没有任何检查点的记录",
    ),
    # ended
    "succeeded": ("succeeded after {span}", "运行 {span} 后成功"),
    "cancelled": ("{message} after {span}", "{message}，运行了 {span}"),
    "cancelled.plain": ("cancelled", "已取消"),
    "never_ran": ("no time at all (it never ran)", "0 秒（从未运行）"),
    "ended": ("{state} after {span}: {cause}", "运行 {span} 后{state}：{cause}"),
    "state.failed": ("failed", "失败"),
    "state.timeout": ("timeout", "超时"),
    "state.out_of_memory": ("out of memory", "内存不足"),
    "state.node_fail": ("node fail", "因节点故障结束"),
    "state.preempted": ("preempted", "被抢占"),
    "attempts": ("{count} attempts failed", "{count} 次尝试失败"),
    "failed.remedy": ("read its log, correct the cause and {again}", "查看日志，修正原因后{again}"),
    "timeout.remedy": (
        "give it more time (--time), or let it write checkpoints and go on from them",
        "延长时限（--time），或写检查点以便断点续训",
    ),
    "out_of_memory.remedy": (
        "ask for more memory (--mem), or make its batch smaller",
        "申请更多内存（--mem），或减小批大小",
    ),
    "node_fail.remedy": ("{again}; with --requeue that happens by itself", "{again}；加上 --requeue 可自动重排"),
    "preempted.remedy": ("{again}; with --requeue that happens by itself", "{again}；加上 --requeue 可自动重排"),
    "again": ("submit it again", "重新提交"),
    "again.ship": (
        "go on where it stopped: stoker ship --resume {ship}",
        "从中断处继续：stoker ship --resume {ship}",
    ),
    "dependency.remedy": (
        "correct the job it depends on, then submit both again",
        "修正所依赖的作业，然后一并重新提交",
    ),
}
