"""Run inside a worker of the secure fleet: prints which doors are not as they should be."""

import os
import socket
import ssl
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import redis
from confluent_kafka import Consumer, TopicPartition

SECRETS = Path("/run/secrets")
REGISTRY = os.environ["SCHEMA_REGISTRY_URL"]


def registry(path, data=None, password=None):
    """The status of an answer."""
    request = urllib.request.Request(REGISTRY + path, data, {"Content-Type": "application/json"})
    if password:
        request.add_header("Authorization", f"Basic {b64encode(f'worker:{password}'.encode()).decode()}")
    try:
        context = ssl.create_default_context(cafile=SECRETS / "authority")
        return urllib.request.urlopen(request, timeout=30, context=context).status
    except urllib.error.HTTPError as error:
        return error.code


def reads_products():
    config = {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "worker",
        "sasl.password": (SECRETS / "kafka_worker_password").read_text().strip(),
        "ssl.ca.location": str(SECRETS / "authority"),
        "group.id": "seine-doors",
        "enable.auto.commit": False,
    }
    consumer = Consumer(config)
    consumer.assign([TopicPartition("products", 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    return message is None or message.error() is None


def refuses(call):
    try:
        call()
    except redis.RedisError:
        return True
    return False


password = (SECRETS / "registry_worker_password").read_text().strip()
mine = redis.Redis.from_url((SECRETS / "redis_worker_url").read_text().strip())
shut = {
    "the registry answers a worker": registry("/subjects", password=password) == 200,
    "the registry asks strangers who they are": registry("/subjects") == 401,
    "a worker registers nothing": registry("/subjects/x-value/versions", b"{}", password) == 403,
    "a worker reads no products": not reads_products(),
    "a worker may use its keys": mine.get("seine:nothing") is None,
    "a worker may not flush Redis": refuses(mine.flushall),
    "a worker may use no other keys": refuses(lambda: mine.set("other", "x")),
    "Redis speaks TLS only": refuses(redis.Redis("redis", socket_timeout=10).ping),
}
try:
    socket.getaddrinfo("registry", 8080)
    shut["a worker does not know the registry behind its door"] = False
except OSError:
    pass
wrong = [what for what, is_so in shut.items() if not is_so]
print("\n".join(wrong))
sys.exit(bool(wrong))
