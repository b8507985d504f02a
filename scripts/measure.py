#!/usr/bin/env python3
"""Times commands and tells how their times compare, for scripts/bench.

  measure.py run --log RUNS.jsonl --codec CODEC --what WHAT [--size FILE]
                 [--output FILE] -- COMMAND...
  measure.py report --kind KIND --log RUNS.jsonl --json OUT.json [--require] [KEY=VALUE...]

run appends one line of JSON: wall and processor seconds, the peak of resident
memory in bytes (of the command and whatever it started and waited for, each
taken alone), and the bytes of --size after the command. Its standard output
goes to --output. It exits as the command did.

report takes the median of equal runs, prints a table and the requirements with
their verdicts, and writes both as JSON. With --require a missed one exits 1.
"""
import argparse, json, os, platform, statistics, subprocess, sys, time

# What is measured of a kind of live system, in the order of the table: the key
# of a run, its meaning.
WHATS = {
    "antix": [
        ("peer", "overlay mount + mksquashfs of it"),
        ("limit", "cp of the base + mksquashfs of the upper layer"),
        ("output", "relive compact -o FILE"),
        ("whole", "relive compact DIR"),
    ],
    "liveos": [
        ("peer", "unsquashfs + merge + mksquashfs"),
        ("limit", "cp of the base + mksquashfs of touched blocks"),
        ("output", "relive compact -o FILE"),
        ("keep", "relive compact --keep-free -o FILE"),
        ("whole", "relive compact DIR"),
    ],
    "iso": [
        ("peer", "overlay mount + mksquashfs of it + xorriso"),
        ("limit", "cp of the base + mksquashfs of the upper layer"),
        ("output", "relive snapshot -o FILE"),
    ],
    "ext": [
        ("peer", "mke2fs -d"),
        ("output", "mkfs.Build"),
    ],
}

# Meanings of runs that are named for what they work on and not for a codec.
OTHER_WHATS = {
    "image": {
        "peer": "cp of the root image + merge",
        "output": "relive dm merge -o FILE",
    },
    "rebuild": {
        "peer": "xorriso -boot_image any replay",
        "limit": "cp of the ISO",
        "output": "relive iso rebuild",
    },
    "large": {
        "limit": "cp of linuxfs",
        "output": "relive snapshot -o FILE",
    },
}

# Times faster than the peer that the project asks for, by kind and codec.
FASTER = {
    "antix": {"xz": 20, "zstd": 8},
    "liveos": {"xz": 15, "zstd": 6},
    "iso": {},
}
LIMIT_FACTOR = {"antix": 1.5, "liveos": 1.5}
PEAK_BYTES = 300 << 20
SIZE_FACTOR = 1.01
EXT_FACTOR = 1.2 # of the time of mke2fs -d


def run(a):
    out = open(a.output, "ab") if a.output else None
    start = time.monotonic()
    try:
        child = subprocess.Popen(a.command, stdin=subprocess.DEVNULL, stdout=out)
    except OSError as e:
        sys.exit("error: %s: %s" % (a.command[0], e.strerror))
    _, status, used = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        print("error: exit %d: %s" % (code, " ".join(a.command)), file=sys.stderr)
        sys.exit(1)
    line = {"codec": a.codec, "what": a.what, "wall": round(wall, 3),
            "user": round(used.ru_utime, 3), "system": round(used.ru_stime, 3),
            "peak": used.ru_maxrss * 1024}
    if a.size:
        line["size"] = os.path.getsize(a.size)
    with open(a.log, "a") as log:
        log.write(json.dumps(line) + "\n")
    print("        %-6s %-6s %8.2f s wall  %8.2f s user  %6.1f MiB peak" %
          (a.codec, a.what, wall, used.ru_utime, line["peak"] / (1 << 20)))


def medians(path):
    """{codec: {what: one run with the median of each figure}}, runs of codecs in order."""
    groups = {}
    with open(path) as log:
        for text in log:
            line = json.loads(text)
            groups.setdefault(line["codec"], {}).setdefault(line["what"], []).append(line)
    result = {}
    for codec, whats in groups.items():
        for what, lines in whats.items():
            one = {"runs": len(lines)}
            for key in ("wall", "user", "system", "size"):
                values = [line[key] for line in lines if key in line]
                if values:
                    one[key] = statistics.median(values)
            one["peak"] = max(line["peak"] for line in lines)
            result.setdefault(codec, {})[what] = one
    return result


def wall(r):
    return r["wall"]


def processor(r):
    return r["user"] + r["system"]


def requirements(kind, codec, m):
    """(text, value, limit, met) of each requirement that the runs of a codec can tell."""
    found = []
    if "output" not in m:
        return found
    ours = m["output"]
    faster = FASTER.get(kind, {}).get(codec)
    if kind == "ext" and "peer" in m:
        value = ours["wall"] / m["peer"]["wall"]
        found.append(("times the peer, at most", value, EXT_FACTOR, value <= EXT_FACTOR))
    if "peer" in m and faster:
        value = m["peer"]["wall"] / ours["wall"]
        found.append(("times faster than the peer, at least", value, faster, value >= faster))
    factor = LIMIT_FACTOR.get(kind)
    if "limit" in m and factor:
        value = ours["wall"] / m["limit"]["wall"]
        found.append(("times the limit, at most", value, factor, value <= factor))
    if "peer" in m and faster:
        value = ours["size"] / m["peer"]["size"]
        found.append(("of the peer's size, at most", value, SIZE_FACTOR, value <= SIZE_FACTOR))
    peak = max(m[w]["peak"] for w in ("output", "keep", "whole") if w in m)
    found.append(("MiB of memory, below", peak / (1 << 20), PEAK_BYTES >> 20, peak < PEAK_BYTES))
    return found


def report(a):
    results = medians(a.log)
    facts = dict(pair.split("=", 1) for pair in a.facts)
    with open("/proc/cpuinfo") as f:
        models = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    facts["processors"] = "%d x %s" % (os.cpu_count(), models[0] if models else platform.machine())
    facts["kernel"] = platform.release()
    for key, value in facts.items():
        print("%-12s %s" % (key, value))
    facts["load"] = "%.1f over the last minutes" % os.getloadavg()[2]
    print("%-12s %s" % ("load", facts["load"]))
    if os.getloadavg()[2] > 1.5 * os.cpu_count():
        print("note: other work was running on this machine; wall times say little, processor times more")
    missed = 0
    judged = {}
    for codec, m in results.items():
        print("\n%-49s %8s %8s %8s %8s %9s %9s" %
              (codec, "wall s", "vs peer", "cpu s", "vs peer", "peak MiB", "size MiB"))
        for what, meaning in WHATS[a.kind]:
            if what not in m:
                continue
            meaning = OTHER_WHATS.get(codec, {}).get(what, meaning)
            r = m[what]
            ratios = ["-", "-"]
            if "peer" in m:
                ratios = ["%.1fx" % (seconds(m["peer"]) / max(seconds(r), 0.001)) for seconds in (wall, processor)]
            size = "%.2f" % (r["size"] / (1 << 20)) if "size" in r else "-"
            print("  %-47s %8.2f %8s %8.2f %8s %9.1f %9s" %
                  (meaning, r["wall"], ratios[0], processor(r), ratios[1], r["peak"] / (1 << 20), size))
        for text, value, limit, met in requirements(a.kind, codec, m):
            print("  %-4s %8.3f %s %s" % ("ok" if met else "MISS", value, text, limit))
            missed += not met
            judged.setdefault(codec, []).append(
                {"requirement": text, "value": round(value, 4), "limit": limit, "met": met})
    with open(a.json, "w") as out:
        json.dump({"facts": facts, "runs": results, "requirements": judged}, out, indent=1)
        out.write("\n")
    return 1 if missed and a.require else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    s = p.add_subparsers(dest="verb", required=True)
    r = s.add_parser("run")
    r.add_argument("--log", required=True)
    r.add_argument("--codec", required=True)
    r.add_argument("--what", required=True, choices=sorted({what for whats in WHATS.values() for what, _ in whats}))
    r.add_argument("--size")
    r.add_argument("--output")
    r.add_argument("command", nargs="+")
    t = s.add_parser("report")
    t.add_argument("--kind", required=True, choices=WHATS)
    t.add_argument("--log", required=True)
    t.add_argument("--json", required=True)
    t.add_argument("--require", action="store_true")
    t.add_argument("facts", nargs="*", metavar="KEY=VALUE")
    a = p.parse_args()
    sys.exit({"run": run, "report": report}[a.verb](a) or 0)


if __name__ == "__main__":
    main()
