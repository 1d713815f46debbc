"""The object store: one small protocol, a local folder, and S3 through the ``minio`` client.

In: keys (relative POSIX paths) and bytes. Out: the same bytes. Knows nothing of what they mean. What a store can do is
found out by probing (:class:`Capabilities`), not by believing.
"""

from collections.abc import Mapping

from seedbank.storage.base import Capabilities, ObjectStore, check_key
from seedbank.storage.local import LocalStore

__all__ = ["Capabilities", "LocalStore", "ObjectStore", "check_key", "open_store"]


def open_store(url: str, s3: Mapping[str, str] | None = None) -> ObjectStore:
    """The store behind ``url``: a folder path, ``file:///folder`` or ``s3://bucket[/prefix]``.

    S3 endpoint and credentials come from ``s3``, or from the environment (see :mod:`seedbank.storage.s3`).
    """
    if url.startswith("s3://"):
        from seedbank.storage.s3 import S3Store

        return S3Store.from_url(url, s3)
    return LocalStore.from_url(url)
