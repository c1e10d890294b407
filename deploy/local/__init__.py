"""The embedded stack: real Redis, Kafka, schema registry and HDFS, without Docker, system Java or root."""

from deploy.local.config import Ports, StackConfig
from deploy.local.errors import StackError
from deploy.local.stack import Stack

__all__ = ["Ports", "Stack", "StackConfig", "StackError"]
