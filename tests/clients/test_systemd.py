"""The unit in deploy/, as systemd's own tool reads it; systemd does not run here."""

import configparser
import os
import shutil
import subprocess
import tempfile
import unittest

from clients import ROOT, Agent, program

UNIT = os.path.join(ROOT, "deploy", "cairn.service")
INSTALLED_AT = "/usr/local/bin/cairn"
EXPOSURE_MAX = 2.0  # of 10, as systemd-analyze counts it


class Systemd(unittest.TestCase):
    def setUp(self):
        self.agent = Agent()
        self.addCleanup(self.agent.discard)
        self.folder = tempfile.mkdtemp(prefix="cairn-clients-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        with open(UNIT, encoding="utf-8") as file:
            self.text = file.read()

    def analyze(self, *args):
        """Runs the tool on the unit, with the program that is here in the place of an installed
        one."""
        path = os.path.join(self.folder, "cairn.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.text.replace(INSTALLED_AT, os.path.abspath(self.agent.binary)))
        done = subprocess.run([program("systemd-analyze"), *args, path], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=60, env=dict(os.environ, SYSTEMD_PAGER="cat"))
        return done.returncode, done.stdout

    def test_verify(self):
        self.assertEqual(self.analyze("verify", "--man=no"), (0, ""))

    def test_exposure(self):
        code, out = self.analyze("security", "--offline=true",
                                 "--threshold=%d" % (EXPOSURE_MAX * 10), "--no-pager")
        self.assertEqual(code, 0, out)

    def test_its_command_line(self):
        """ExecStart's flags, on folders of our own; and the exit code that the unit counts on."""
        unit = configparser.RawConfigParser(strict=False, delimiters="=")
        unit.optionxform = str
        unit.read_string(self.text)
        service = unit["Service"]
        command = service["ExecStart"].split(" ")
        self.assertEqual(command[0], INSTALLED_AT)
        agent = self.agent
        config = os.path.join(self.folder, "config")
        os.mkdir(config)
        agent.config["data_dir"] = None  # the unit's flag says it
        usual = agent.command()  # writes the configuration
        shutil.copy(os.path.join(agent.folder, "config.json"), config)
        places = {"/etc/cairn": config, "/var/lib/" + service["StateDirectory"]: agent.data_dir}
        started = [usual[0]] + command[1:]
        for place, own in places.items():
            self.assertTrue(any(part.endswith("=" + place) for part in started), place)
            started = [part.replace("=" + place, "=" + own) for part in started]
        agent.command = lambda: started
        agent.start()
        self.assertTrue(os.listdir(agent.data_dir))
        agent.stop(code=int(service["SuccessExitStatus"]))
        self.assertEqual(service["RestartForceExitStatus"], service["SuccessExitStatus"])
