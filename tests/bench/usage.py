"""What a process takes, as the kernel counts it."""
import os

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kib(pid):
    """(resident, anonymous)."""
    values = {}
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
        for line in file:
            parts = line.split()
            if len(parts) == 3:
                values[parts[0]] = int(parts[1])
    return values["Rss:"], values["Anonymous:"]
