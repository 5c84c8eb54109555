"""Takes one file out of nested archives: unpack.py ARCHIVE OUT MODE PATTERN [PATTERN ...]

Each PATTERN names one member of the archive found so far (zip, or tar with gzip); the last member is
written to OUT with the octal MODE. A pattern that matches no member, or more than one, is an error.
"""

import fnmatch
import io
import os
import sys
import tarfile
import zipfile


def member(data, pattern):
    """Bytes of the only member of the archive `data` whose name matches `pattern`."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        archive = zipfile.ZipFile(io.BytesIO(data))
        names, read = archive.namelist(), archive.read
    else:
        archive = tarfile.open(fileobj=io.BytesIO(data), mode="r:gz")
        names, read = archive.getnames(), lambda name: archive.extractfile(name).read()
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if len(found) != 1:
        sys.exit(f"unpack: `{pattern}` matches {len(found)} members, expected 1")
    return read(found[0])


def main(source, out, mode, *patterns):
    with open(source, "rb") as file:
        data = file.read()
    for pattern in patterns:
        data = member(data, pattern)
    partial = f"{out}.part"
    with open(partial, "wb") as file:
        file.write(data)
    os.chmod(partial, int(mode, 8))
    os.replace(partial, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
