"""What ``stoker --help`` and the first line of each command's help say in Chinese. The English text is the key."""

from __future__ import annotations

from collections.abc import Mapping

HELP: Mapping[str, str] = {
    "Keeps accelerators busy with work that matters, and says why when they are not.": (
        "让加速卡忙于有价值的工作；没有忙起来时，说明原因。"
    ),
    "The server, instead of STOKER_URL or the one of `stoker login`.": (
        "服务器地址，代替 STOKER_URL 或 `stoker login` 记住的地址。"
    ),
    "Language of reports: en or zh; else STOKER_LANG, LC_ALL, LANG.": (
        "语言：en 或 zh；否则取 STOKER_LANG、LC_ALL、LANG。"
    ),
    "Print the version.": "显示版本。",
    "Show this message and exit.": "显示本帮助并退出。",
    # sections
    "Platform": "平台",
    "Work": "任务",
    "Models": "模型",
    "See what goes on": "查看状态",
    "Plan": "规划",
    # commands
    "Start the platform on this machine.": "在本机启动平台。",
    "Remember a server and a key for this user.": "为当前用户记住服务器和密钥。",
    "Create, list and revoke keys.": "创建、列出和吊销密钥。",
    "Add, list and remove engines: Slurm and Kubernetes clusters.": (
        "添加、列出和移除引擎：Slurm 与 Kubernetes 集群。"
    ),
    "Share devices among tenants and teams by queues.": "用队列在租户和团队间分配加速卡。",
    "Upload, list and delete files.": "上传、列出和删除文件。",
    "From data to a served model.": "从数据到上线的模型。",
    "List shipments.": "列出交付。",
    "Run a command, a job file or an sbatch script.": "运行命令、作业文件或 sbatch 脚本。",
    "Start, list and stop notebooks (JupyterLab).": "启动、列出和停止笔记本（JupyterLab）。",
    "Cancel jobs, arrays or a shipment.": "取消作业、作业数组或交付。",
    "Wait for jobs to end; exits with their exit code.": "等待作业结束，并以其退出码退出。",
    "List, compare, promote and roll back models.": "列出、对比、晋级和回退模型。",
    "List, deploy and stop endpoints.": "列出、部署和停止端点。",
    "Talk to a served model.": "与已上线的模型对话。",
    "List jobs, in squeue's columns.": "列出作业（squeue 的列）。",
    "Show all about one job.": "显示一个作业的全部信息。",
    "Print what a job wrote.": "显示作业的输出。",
    "Why a job waits or failed, and what to do.": "作业为何等待或失败，以及如何处理。",
    "List, drain and move nodes.": "列出、排空和移动节点。",
    "Watch nodes and jobs, live.": "实时查看节点和作业。",
    "Plan memory, training, serving, network, storage and purchases.": "规划显存、训练、推理、网络、存储和采购。",
    "Search settings of the scheduling policy on a trace, judged on jobs that the search has not seen.": (
        "在作业轨迹上搜索调度策略的参数，并以搜索未见过的作业评判。"
    ),
    "Show and set the scheduling policy.": "查看和设置调度策略。",
    "Run a trace of jobs through the scheduler, without running any.": "让一段作业轨迹经过调度器，而不实际运行。",
}
