#!/usr/bin/env python3
"""A second implementation of docs/format.md, written from that page alone: one module for each of its sections. Python 3.11 or later,
no packages.

    verify.py tree DIRECTORY    hashes of a directory (as root: it reads all xattrs)
    verify.py dump FILE         of a composefs-dump(5); - is standard input
    verify.py image FILE        of a commit.cfs
    verify.py store DIRECTORY   checks everything in a store; --quick leaves out the bytes of objects
    verify.py digest FILE...    fs-verity digests

The first three print JSON, or with --entries each entry in hexadecimal. --dump FILE and --write FILE write a dump and the image
there; --no-image leaves the image and its digest out.
"""

import argparse
import json
import resource
import sys

sys.dont_write_bytecode = True

from content import Refused, verity_of_bytes, verity_of_file
from dumps import format_dump, parse_dump
from hashes import entries, hash_tree
from read_image import parse_image
from store import StoreCheck
from trees import read_directory
from write_image import write_image



def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tree", "dump", "image", "store", "digest"])
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--entries", action="store_true")
    parser.add_argument("--dump", metavar="FILE")
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--no-image", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    sys.setrecursionlimit(10**6)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return run(options)
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1


def run(options):
    path = options.paths[0]
    if options.what == "digest":
        for name in options.paths:
            with open(name, "rb") as file:
                print(verity_of_file(file.fileno())[0].hex(), name)
        return 0
    if options.what == "store":
        result = StoreCheck(path, options.quick).run()
        print(json.dumps(result, indent=1))
        return 0 if result["ok"] else 1
    show(read_tree(options.what, path), options)
    return 0


def read_tree(what, path):
    if what == "tree":
        return read_directory(path)
    data = sys.stdin.buffer.read() if path == "-" else open(path, "rb").read()
    return parse_dump(data) if what == "dump" else parse_image(data)


def show(root, options):
    if options.entries:
        for _, entry in entries(root):
            print(entry.hex())
        return
    hashes = hash_tree(root)
    if not options.no_image:
        image = write_image(root)
        hashes["image_digest"] = verity_of_bytes(image).hex()
        if options.write:
            with open(options.write, "wb") as file:
                file.write(image)
    if options.dump:
        with open(options.dump, "wb") as file:
            file.writelines(line + b"\n" for line in format_dump(root))
    print(json.dumps(hashes, indent=1))


if __name__ == "__main__":
    sys.exit(main())
