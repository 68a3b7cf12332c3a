"""Jobs as pods of a Kubernetes cluster, 1.20 and newer."""

from stoker.engines.kubernetes.engine import KubernetesEngine
from stoker.engines.kubernetes.settings import KubernetesSettings

__all__ = ["KubernetesEngine", "KubernetesSettings"]
