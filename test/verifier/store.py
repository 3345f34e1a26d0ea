"""Section 1 of docs/format.md: checks everything in a store."""

import json
import os
import re
import stat
import tomllib

from content import Refused, require, verity_of_bytes, verity_of_file
from hashes import hash_tree
from read_image import parse_image
from trees import walk
from write_image import write_image

COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
LABEL = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
ID = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def is_label_folder(name):
    label = name.replace("%2F", "/")
    return len(name) <= 255 and LABEL.fullmatch(label) is not None and label.replace("/", "%2F") == name


def is_tag(name):
    return TAG.fullmatch(name) is not None and name.upper() != "HEAD"


class StoreCheck:
    def __init__(self, path, quick):
        self.path, self.quick = path, quick
        self.problems = []
        self.counts = {"commits": 0, "objects": 0, "labels": 0, "refs": 0}

    def run(self):
        self.check("stratum.toml", self.settings)
        objects = self.objects()
        for name in self.names("commits"):
            if ID.fullmatch(name):
                self.check(f"commits/{name}", lambda: self.commit(name, objects))
        for name in self.names("refs"):
            if is_label_folder(name):
                self.check(f"refs/{name}", lambda: self.label(name))
            else:
                self.problems.append(f"refs/{name}: no label")
        return {"ok": not self.problems, "problems": self.problems, **self.counts}

    def check(self, what, examine):
        try:
            examine()
        except (Refused, OSError, ValueError, KeyError, TypeError) as error:
            self.problems.append(f"{what}: {type(error).__name__}: {error}")

    def names(self, folder):
        names = sorted(os.listdir(os.path.join(self.path, folder)))
        return [name for name in names if not name.startswith(".new-")]

    def read(self, *names):
        with open(os.path.join(self.path, *names), "rb") as file:
            return file.read()

    def settings(self):
        settings = tomllib.loads(self.read("stratum.toml").decode())["stratum"]
        require(settings["format"] == 1, f"format {settings['format']}")
        require(re.fullmatch(r"[0-9a-f-]{36}", settings["id"]), "no id")
        require(settings.get("incompatible", []) == [], "unknown features")

    def objects(self):
        """Sizes by digest."""
        sizes = {}
        for folder in self.names("objects"):
            for name in self.names(os.path.join("objects", folder)):
                where = f"objects/{folder}/{name}"
                if re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{62}", f"{folder}/{name}"):
                    self.check(where, lambda: sizes.update(self.object(folder + name, where)))
                else:
                    self.problems.append(f"{where}: no object's name")
        self.counts["objects"] = len(sizes)
        return sizes

    def object(self, digest, where):
        fd = os.open(os.path.join(self.path, where), os.O_RDONLY | os.O_NOFOLLOW)
        try:
            status = os.fstat(fd)
            require(stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o444, "mode is not 0444")
            if not self.quick:
                found, _ = verity_of_file(fd)
                require(found.hex() == digest, f"the bytes have the digest {found.hex()}")
            return {digest: status.st_size}
        finally:
            os.close(fd)

    def commit(self, name, objects):
        document = tomllib.loads(self.read("commits", name, "metadata.toml").decode())
        image = self.read("commits", name, "commit.cfs")
        require(document["stratum"]["entry"] == 1, "another entry encoding")
        composefs = document["composefs"]
        require(composefs == {"digest": verity_of_bytes(image).hex(), "version": 0}, "the image has another digest")
        root = parse_image(image)
        hashes = hash_tree(root)
        commit, count = document["commit"], hashes["files"]
        require(name == commit["metadata_hash"] == hashes["id"], f"the tree has the id {hashes['id']}")
        require(commit["merkle_root"] == hashes["merkle_root"], f"the tree has the root {hashes['merkle_root']}")
        require(TIME.fullmatch(commit["timestamp"]), "no timestamp")
        parent = commit.get("parent_commit")
        require(parent is None or ID.fullmatch(parent), "parent_commit is no id")
        require(document["files"] == {"count": count, "total_size": hashes["bytes"]}, "other counts of files")
        depth = (count - 1).bit_length() if count > 1 else 0
        require(document["merkle"] == {"leaf_count": count, "tree_depth": depth}, "other counts of leaves")
        require(write_image(root) == image, "the image is not the one that this tree has")
        for path, inode in walk(root):
            if inode.is_object():
                size = objects.get(inode.digest.hex())
                require(size == inode.size, f"{b'/'.join(path)!r}: its object is missing or has {size} bytes")
        self.counts["commits"] += 1

    def label(self, folder):
        refs = {}
        base = os.path.join("refs", folder)
        inside = self.names(base)
        for tag in self.names(os.path.join(base, "tags")) if "tags" in inside else []:
            require(is_tag(tag), f"tags/{tag} is no tag")
            text = self.read(base, "tags", tag).decode()
            require(re.fullmatch(r"[0-9a-f]{64}\n", text), f"tags/{tag} holds no commit id")
            require(not ID.fullmatch(tag) or tag == text[:64], f"tags/{tag} names another commit")
            refs[f"tags/{tag}"] = text[:64]
        if "head.toml" in inside:
            refs["HEAD"] = self.head(base)
        for ref, commit in refs.items():
            path = os.path.join(self.path, "commits", commit, "metadata.toml")
            require(os.path.exists(path), f"{ref} names {commit}, which is not there")
        if "log" in inside:
            self.log(base, refs)
        self.counts["labels"] += 1
        self.counts["refs"] += len(refs)

    def head(self, base):
        head = tomllib.loads(self.read(base, "head.toml").decode())["head"]
        require(ID.fullmatch(head["base_commit"]) and ID.fullmatch(head["last_commit"]), "head.toml names no commits")
        require(head["state"] in ("clean", "frozen", "folding"), f"state {head['state']}")
        require(isinstance(head["generation"], int) and isinstance(head["boot_id"], str), "head.toml is damaged")
        mark = f"{head['base_commit']} {head['generation']}".encode()
        for name in ("head", "work") if head["state"] != "folding" else ():
            found = os.getxattr(os.path.join(self.path, base, name), "trusted.overlay.stratum")
            require(found == mark, f"{name}/ has the mark {found!r}")
        return head["last_commit"]

    def log(self, base, refs):
        lines = self.read(base, "log").split(b"\n")[:-1]
        logged = [json.loads(line) for line in lines]
        for entry in logged:
            require(TIME.fullmatch(entry["time"]) and entry["actor"] and entry["operation"], "an entry lacks a field")
            for ref, move in entry["refs"].items():
                require(ref == "HEAD" or (ref.startswith("tags/") and is_tag(ref[5:])), f"the log moves {ref}")
                require(set(move) == {"from", "to"}, f"the log moves {ref} from or to nowhere")
                require(all(end is None or ID.fullmatch(end) for end in move.values()), f"the log moves {ref}")
        for ref, move in logged[-1]["refs"].items() if logged else []:
            require(refs.get(ref) != move["from"] or move["from"] == move["to"], f"the last move of {ref} is not done")
