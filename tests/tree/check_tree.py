#!/usr/bin/env python3
"""Proves the order of the tree: who includes whom, that the pure cores are pure, that each library
stays behind its files, that no file grows without end.

    check_tree.py --root DIR [--core LIB.a ...] [--base LIB.a]
    check_tree.py --self-test [--cc CC]

Prints one line a violation and ends with 1 if there is any.
"""
import argparse
import fnmatch
import os
import re
import subprocess
import sys
import tempfile

# An include points to the same folder or to a lower level; folders of one level never see each
# other.
LEVELS = {
    "base": 0, "proto": 0,
    "raft": 1, "gossip": 1, "catalog": 1,
    "net": 2, "store": 2,
    "checks": 3, "http": 3, "dns": 3,
    "agent": 4,
    "tests": 5, "deploy": 5,
}

# Third-party header -> the files that may include it.
BEHIND = {
    "jansson.h": ["base/decode.c"],
    "uv.h": ["net/loop.c"],
    "microhttpd.h": ["http/server.c"],
    "curl/*": ["checks/transfer.h", "agent/command_client.c"],
    "openssl/*": ["agent/archive.c", "agent/files.c", "agent/node_id.c", "checks/tls.c", "net/crypto.c"],
    "zlib.h": ["agent/archive.c", "agent/squeeze.c", "http/gzip.c"],
    "protobuf-c/*": ["catalog/codec.c", "catalog/codec_unknown.h", "raft/codec.c"],
    "proto/*.pb-c.h": [
        "agent/carried.c",
        "agent/carried_question.c",
        "agent/carried_rows.c",
        "agent/carry.c",
        "agent/group_wire.c",
        "agent/mirror_pull.c",
        "agent/mirror_source.c",
        "agent/node_rows.c",
        "agent/operator.c",
        "catalog/codec.c",
        "catalog/codec_parts.h",
        "agent/events.c",
        "catalog/codec_result.c",
        "net/rpc_wire.c",
        "raft/codec.c",
    ],
    "pcre2*.h": ["catalog/pattern.c"],
    "ares*.h": ["net/resolve.c"],
    "gnutls/*": [],
}

LINES_MAX = 800
LINE_COUNTED = (".c", ".h", ".py", ".sh", ".proto", ".cmake")

# What the pure cores may call outside of themselves.
PURE_NAMES = set("""
    free abort memcpy memmove memset memcmp memchr memrchr memmem
    strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strstr strcasestr strspn
    strcspn strpbrk strcpy strncpy strcat strncat strtol strtoul strtoll strtoull strtod
    snprintf vsnprintf sprintf qsort bsearch inet_pton inet_ntop sqrt
    _GLOBAL_OFFSET_TABLE_ __cpu_model __stack_chk_fail __tls_get_addr
""".split())
PURE_PATTERNS = [
    r"protobuf_c_\w+", r"pb__\w+", r"pcre2_\w+_8",
    r"__(asan|ubsan|tsan|sanitizer|sancov|gcov|llvm)_\w+",  # what an instrumented build adds
    r"__(u?div|u?mod|mul|add|sub|float|fix|pop|c[lt]z)\w*[sdt]i\d?\w*",  # arithmetic of libgcc
    r"__(mem|str|v?snprintf)\w*_chk", r"__isoc\d+_\w+",
]
# Objects of base that a core may use; their own needs are held to the same list. base/log.c is not
# among them.
PURE_BASE = ("arena assert base64 buf coordinate crc32c decode duration epoch err hash ip json mem pack rand str timer "
             "uuid").split()
# Needs of single objects of base, with the reason.
BASE_ALLOWED = {
    "assert": r"fprintf|fputs|stderr|fwrite",  # its last words before abort
    "mem": r"malloc|calloc|realloc|strdup|fprintf|fputs|stderr|fwrite",  # the one place that allocates
    "arena": r"malloc",
    # Slots are claimed by a thread-local; the cores only retire and advance.
    "epoch": r"pthread_(key_create|key_delete|once|setspecific|getspecific|mutex_\w+)|posix_memalign",
    "decode": r"json_(?!load_file|load_callback|loadf|loadfd|dump_file|dumpf|dumpfd|dump_callback)\w+",
    "err": r"(__xpg_)?strerror_r",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def sources(root):
    for folder in sorted(LEVELS):
        for at, folders, names in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(f for f in folders if f not in ("build", "__pycache__"))
            for name in sorted(names):
                path = os.path.relpath(os.path.join(at, name), root)
                if name.endswith(LINE_COUNTED) and not os.path.islink(os.path.join(root, path)):
                    yield path


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def check_include(path, quoted, header):
    folder = path.split("/")[0]
    for pattern, homes in BEHIND.items():
        if fnmatch.fnmatch(header, pattern) and path not in homes and folder != "tests":
            yield f"{path}: includes {header}, which belongs to {', '.join(homes) or 'nobody yet'}"
    if not quoted:
        return
    target = header.split("/")[0]
    if "/" not in header or target not in LEVELS:
        yield f"{path}: includes \"{header}\": name it by its folder, as in \"base/err.h\""
    elif target != folder:
        if LEVELS[target] >= LEVELS[folder]:
            yield (f"{path}: includes {header}: {folder} (level {LEVELS[folder]}) may not see "
                   f"{target} (level {LEVELS[target]})")
        if header.endswith("internal.h") and folder != "tests":  # tests see everything
            yield f"{path}: includes {header}: it is internal to {target}"


def check_sources(root):
    for path in sources(root):
        text = read(root, path)
        count = text.count("\n")
        if count > LINES_MAX:
            yield f"{path}: {count} lines, more than {LINES_MAX}"
        if path.endswith((".c", ".h")):
            for quote, header in INCLUDE.findall(text):
                yield from check_include(path, quote == '"', header)


def read_archive(archive):
    """{object without its suffix: (defined symbols, undefined symbols)}"""
    out = subprocess.run(["nm", "-g", archive], check=True, stdout=subprocess.PIPE, text=True).stdout
    objects, now = {}, None
    for line in out.splitlines():
        fields = line.split()
        if line.endswith(":"):
            now = objects.setdefault(re.sub(r"(\.c)?\.o:$", "", line.strip()), (set(), set()))
        elif len(fields) >= 2 and now is not None:
            now[1 if fields[-2] in "Uwv" else 0].add(fields[-1].split("@")[0])
    return objects


def is_pure(symbol, extra=None):
    return (symbol in PURE_NAMES or any(re.fullmatch(p, symbol) for p in PURE_PATTERNS)
            or (extra is not None and re.fullmatch(extra, symbol) is not None))


def check_cores(cores, base):
    base_objects = read_archive(base) if base else {}
    home = {symbol: name for name, (defined, _) in base_objects.items() for symbol in defined}
    reached = set()
    for core in cores:
        objects = read_archive(core)
        if not objects:
            yield f"{core}: no objects"
        own = set().union(*[defined for defined, _ in objects.values()])
        label = os.path.basename(core)
        for name, (_, undefined) in sorted(objects.items()):
            for symbol in sorted(undefined - own):
                if home.get(symbol) in PURE_BASE:
                    reached.add(home[symbol])
                elif not is_pure(symbol):
                    yield f"{label}: {name}.c calls {symbol}: a pure core may not"
    # What a core reaches through base counts as its own.
    queue = sorted(reached)
    while queue:
        name = queue.pop()
        for symbol in sorted(base_objects[name][1]):
            other = home.get(symbol)
            if other in PURE_BASE:
                if other not in reached:
                    reached.add(other)
                    queue.append(other)
            elif not is_pure(symbol, BASE_ALLOWED.get(name)):
                yield f"base/{name}.c calls {symbol}, and pure cores use it"


# The checker must itself be able to fail: one tree for each rule.

GOOD = {
    "base/a.h": "", "base/a.c": '#include "base/a.h"\n',
    "raft/raft.h": '#include "base/a.h"\n',
    "raft/internal.h": '#include "raft/raft.h"\n', "raft/raft.c": '#include "raft/internal.h"\n',
    "agent/main.c": '#include "raft/raft.h"\n#include <stdio.h>\n',
    "http/server.c": "#include <microhttpd.h>\n",
    "tests/unit/a_test.c": '#include "raft/internal.h"\n#include "tests/unit/a.h"\n',
}
BAD = [
    ({"base/b.c": '#include "raft/raft.h"\n'}, "base (level 0) may not see raft"),
    ({"raft/b.c": '#include "catalog/types.h"\n'}, "raft (level 1) may not see catalog"),
    ({"http/b.c": '#include "dns/dns.h"\n'}, "http (level 3) may not see dns"),
    ({"net/b.c": '# include "store/log.h"\n'}, "net (level 2) may not see store"),
    ({"http/b.h": '#include "agent/agent.h"\n'}, "may not see agent"),
    ({"agent/b.c": '#include "tests/unit/a.h"\n'}, "may not see tests"),
    ({"agent/b.c": '#include "raft/internal.h"\n'}, "internal to raft"),
    ({"agent/b.c": '#include "store/log_internal.h"\n'}, "internal to store"),
    ({"raft/b.c": '#include "raft.h"\n'}, "name it by its folder"),
    ({"http/b.c": "#include <jansson.h>\n"}, "includes jansson.h, which belongs to base/decode.c"),
    ({"http/b.c": "#include <uv.h>\n"}, "includes uv.h"),
    ({"agent/b.c": "#include <microhttpd.h>\n"}, "includes microhttpd.h"),
    ({"http/b.c": "#include <curl/curl.h>\n"}, "includes curl/curl.h"),
    ({"raft/b.c": "#include <openssl/rand.h>\n"}, "includes openssl/rand.h"),
    ({"catalog/b.c": "#include <protobuf-c/protobuf-c.h>\n"}, "includes protobuf-c/"),
    ({"catalog/b.c": '#include "proto/catalog.pb-c.h"\n'}, "includes proto/catalog.pb-c.h"),
    ({"http/b.c": "#include <pcre2.h>\n"}, "includes pcre2.h, which belongs to catalog/pattern.c"),
    ({"raft/b.c": "\n" * (LINES_MAX + 1)}, "801 lines"),
    ({"tests/e2e/b.py": "\n" * (LINES_MAX + 1)}, "801 lines"),
]
BASE_OBJECTS = {
    "buf.c": "void *memcpy(void *, const void *, unsigned long);\n"
             "void buf_append(void *a, void *b) { memcpy(a, b, *(unsigned long *)a); }\n",
    "log.c": "long write(int, const void *, unsigned long);\n"
             "void log_write(void) { write(2, \"\", 0); }\n",
    "hash.c": "long time(long *);\nlong hash_bytes(void) { return time(0); }\n",
}
CORES = [
    ("void buf_append(void *, void *);\nvoid raft_step(void *a) { buf_append(a, a); }\n", None),
    ("void log_write(void);\nvoid raft_step(void) { log_write(); }\n", "raft.c calls log_write"),
    ("int socket(int, int, int);\nint raft_step(void) { return socket(1, 2, 3); }\n", "calls socket"),
    ("long time(long *);\nlong raft_step(void) { return time(0); }\n", "calls time"),
    ("int rand(void);\nint raft_step(void) { return rand(); }\n", "calls rand"),
    ("int pthread_create(void);\nint raft_step(void) { return pthread_create(); }\n",
     "calls pthread_create"),
    ("int open(const char *, int);\nint raft_step(void) { return open(\"\", 0); }\n", "calls open"),
    ("long hash_bytes(void);\nlong raft_step(void) { return hash_bytes(); }\n",
     "base/hash.c calls time"),
]


def write_tree(root, files):
    for path, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8") as f:
            f.write(text)


def build_archive(cc, folder, name, files):
    objects = []
    for path, text in files.items():
        source = os.path.join(folder, path)
        write_tree(folder, {path: text})
        subprocess.run([cc, "-w", "-ffreestanding", "-c", source, "-o", source + ".o"], check=True)
        objects.append(source + ".o")
    archive = os.path.join(folder, name)
    subprocess.run(["ar", "rcs", archive] + objects, check=True)
    return archive


def judge(what, found, expected):
    if expected is None and found:
        return [f"self-test: {what}: unexpected: {found}"]
    if expected is not None and not any(expected in line for line in found):
        return [f"self-test: {what}: expected \"{expected}\", found {found}"]
    return []


def self_test(cc):
    wrong = []
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, GOOD)
        wrong += judge("a good tree", list(check_sources(root)), None)
    for files, expected in BAD:
        with tempfile.TemporaryDirectory() as root:
            write_tree(root, {**GOOD, **files})
            wrong += judge(str(list(files)), list(check_sources(root)), expected)
    for text, expected in CORES:
        with tempfile.TemporaryDirectory() as root:
            base = build_archive(cc, os.path.join(root, "b"), "libbase.a", BASE_OBJECTS)
            core = build_archive(cc, os.path.join(root, "r"), "libraft.a", {"raft.c": text})
            wrong += judge(text, list(check_cores([core], base)), expected)
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root")
    parser.add_argument("--core", action="append", default=[])
    parser.add_argument("--base")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--cc", default="cc")
    options = parser.parse_args()
    found = self_test(options.cc) if options.self_test else []
    if options.root:
        found += check_sources(options.root)
    found += check_cores(options.core, options.base)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
