"""Files are told apart by their bytes."""

import hashlib
import os

from askmask.runs import content_hash
from askmask.runs.content_hash import cache_root, hash_of_files, remembered_sha256


def test_bytes_count_and_order_does_not(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    one = hash_of_files({"a": tmp_path / "a", "b": tmp_path / "b"})
    assert one == hash_of_files({"b": tmp_path / "b", "a": tmp_path / "a"})
    stat = (tmp_path / "a").stat()
    (tmp_path / "a").write_bytes(b"3")
    os.utime(tmp_path / "a", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time
    assert one != hash_of_files({"a": tmp_path / "a", "b": tmp_path / "b"})


def test_a_large_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("ASKMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(content_hash, "REMEMBERED_BYTES", 4)
    path = tmp_path / "weights"
    path.write_bytes(b"12345")
    digest = hashlib.sha256(b"12345").hexdigest()
    assert remembered_sha256(path) == digest
    (kept,) = (cache_root() / "hashes").iterdir()
    kept.write_text('{"sha256": "%s"}' % ("0" * 64))
    assert remembered_sha256(path) == "0" * 64, "read from the memory"
    kept.write_text("damaged")
    assert remembered_sha256(path) == digest
    path.write_bytes(b"123456")
    assert remembered_sha256(path) == hashlib.sha256(b"123456").hexdigest()
