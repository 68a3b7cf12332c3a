"""slurm_executor: the shape that NeMo's users know, and its warnings."""

from __future__ import annotations

import warnings

import pytest

import stoker
from stoker.client.variables import known, strange
from stoker.engine_config import settings_of
from stoker.engines.slurm import SlurmSettings
from stoker.errors import BadInput
from stoker.job import Mount


def executor(**more: object) -> stoker.SlurmExecutor:
    return stoker.slurm_executor("ann", "login01.example.com", "/shared/ann", "ml", "gpu", 2, 8, **more)  # type: ignore[arg-type]


def test_what_it_asks_for() -> None:
    found = executor(custom_mounts=["/data:/data:ro"], container_image="nvcr.io/nemo:24", retries=2)
    assert found.config.name == "login01-gpu-ann"
    settings = settings_of(found.config, SlurmSettings)
    assert (settings.ssh, settings.folder, settings.containers) == (
        "ann@login01.example.com",
        "/shared/ann",
        "pyxis",
    )
    spec = found.spec("python", "train.py")
    assert (spec.nodes, spec.resources.accelerators, spec.resources.memory) == (2, 8, 0)
    assert (spec.each_node, spec.exclusive, spec.time_limit, spec.retries) == (True, True, 7200.0, 2)
    assert (spec.queue, spec.account, spec.image) == ("gpu", "ml", "nvcr.io/nemo:24")
    assert spec.mounts == (Mount("/data", "/data", read_only=True),)


def test_a_misspelt_variable_is_warned_of_with_the_near_name() -> None:
    with pytest.warns(UserWarning, match="NTE_DP_AMAX_REDUCE_INTERVAL .*near names: NVTE_DP_AMAX_REDUCE_INTERVAL"):
        executor(custom_env_vars={"NTE_DP_AMAX_REDUCE_INTERVAL": "0"})
    with pytest.warns(UserWarning, match="TORCH_NCCL_AVOID_RECORD_STREAM .*TORCH_NCCL_AVOID_RECORD_STREAMS"):
        executor(custom_env_vars={"TORCH_NCCL_AVOID_RECORD_STREAM": "1"})


def test_known_and_foreign_names_are_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        executor(custom_env_vars={"NCCL_DEBUG": "INFO", "NVTE_DP_AMAX_REDUCE_INTERVAL": "0", "HF_HOME": "/x"})
    assert strange(known()) == []
    assert len(known()) > 200


def test_a_wrong_mount() -> None:
    with pytest.raises(BadInput, match="/here:/there"):
        executor(custom_mounts=["/a:/b:rx"])
