"""Checks an apk package without apk: that it is streams of control and of data in gzip
as apk 2 reads them, that the sums of the data are right, and what .PKGINFO says.

usage: apkcheck.py FILE KEY=VALUE...
"""
import hashlib
import io
import sys
import tarfile
import zlib


def members(data):
    """The streams: each as it is stored, and what is in it."""
    while data:
        d = zlib.decompressobj(31)
        plain = d.decompress(data) + d.flush()
        if not d.eof:
            sys.exit("a gzip stream is cut off")
        yield data[: len(data) - len(d.unused_data)], plain
        data = d.unused_data


def main(path, *wanted):
    streams = list(members(open(path, "rb").read()))
    if len(streams) != 2:
        sys.exit(f"{path}: {len(streams)} streams, and not one of control and one of data")
    control = tarfile.open(fileobj=io.BytesIO(streams[0][1]))
    # The control's tar has no end, so that the data's goes on where it stops.
    lines = control.extractfile(".PKGINFO").read().decode().splitlines()
    info = [tuple(x.strip() for x in line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]
    have = dict(info)
    if have["datahash"] != hashlib.sha256(streams[1][0]).hexdigest():
        sys.exit(f"{path}: datahash is not that of the data")
    for want in wanted:
        key, value = want.split("=", 1)
        if (key, value) not in info:
            sys.exit(f"{path}: {key} is {have.get(key)!r}, not {value!r}")
    files = 0
    for member in tarfile.open(fileobj=io.BytesIO(streams[1][1])):
        if member.uid or member.gid or member.name.startswith(("/", "./")):
            sys.exit(f"{path}: {member.name}: owned by {member.uid}:{member.gid}, or not named from the root")
        if member.isfile():
            files += 1
    data = tarfile.open(fileobj=io.BytesIO(streams[1][1]))
    for member in data:
        if member.isfile():
            sha1 = hashlib.sha1(data.extractfile(member).read()).hexdigest()
            if member.pax_headers.get("APK-TOOLS.checksum.SHA1") != sha1:
                sys.exit(f"{path}: {member.name}: its sum is not told, or another")
    print(f"{path}: {files} files, sums are right")


main(*sys.argv[1:])
