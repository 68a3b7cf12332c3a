"""A command inside a container image, by what the cluster has. Values of variables stay out of argument lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stoker.engines.slurm.settings import Containers, SlurmSettings
from stoker.engines.slurm.wrapper import THIS_NODE
from stoker.job import JobSpec, Mount


@dataclass(frozen=True)
class _Inside:
    """What every runner is told."""

    image: str
    mounts: tuple[Mount, ...]
    workdir: str
    names: Sequence[str]  # of variables that the job gets
    devices: int
    vendor: str
    program: str  # srun


def contained(
    argv: Sequence[str],
    spec: JobSpec,
    settings: SlurmSettings,
    folder: str,
    workdir: str,
    names: Sequence[str],
) -> list[str]:
    """`argv` inside `spec.image`; the attempt's folder is seen there under its own name."""
    mounts = (Mount(folder, folder), *spec.mounts)
    srun = f"{settings.bin}/srun" if settings.bin else "srun"
    inside = _Inside(spec.image, mounts, workdir, names, spec.resources.accelerators, settings.vendor, srun)
    return [*_RUNNERS[settings.containers](inside), *argv]


def _pyxis(inside: _Inside) -> list[str]:
    """A step of the job on this very node; the plugin takes the variables along."""
    mounts = ",".join(_mount(mount) for mount in inside.mounts)
    return [
        inside.program, "--overlap", "--nodes=1", "--ntasks=1", THIS_NODE, "--mpi=none", "--export=ALL", "--quiet",
        f"--container-image={inside.image}", f"--container-mounts={mounts}",
        f"--container-workdir={inside.workdir}", "--no-container-mount-home", "--",
    ]  # fmt: skip


def _apptainer(inside: _Inside) -> list[str]:
    """Variables are taken along by default; --nv and --rocm bring the driver's libraries."""
    gpu = {"nvidia": ["--nv"], "amd": ["--rocm"], "hygon": ["--rocm"]}.get(inside.vendor, [])
    binds = [f"--bind={_mount(mount)}" for mount in inside.mounts]
    return ["apptainer", "exec", *(gpu if inside.devices else []), *binds, f"--pwd={inside.workdir}", inside.image]


def _podman(inside: _Inside) -> list[str]:
    """On the node's network, as a job without a container is; devices by CDI."""
    gpu = ["--device=nvidia.com/gpu=all"] if inside.devices and inside.vendor == "nvidia" else []
    volumes = [f"--volume={_mount(mount)}" for mount in inside.mounts]
    passed = [f"--env={name}" for name in (*inside.names, "CUDA_VISIBLE_DEVICES", "SLURM_*")]
    return [
        "podman", "run", "--rm", "--network=host", "--ipc=host", *gpu, *volumes, *passed,
        f"--workdir={inside.workdir}", inside.image,
    ]  # fmt: skip


def _mount(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


_RUNNERS: Mapping[Containers, Callable[[_Inside], list[str]]] = {
    Containers.PYXIS: _pyxis,
    Containers.APPTAINER: _apptainer,
    Containers.PODMAN: _podman,
}
