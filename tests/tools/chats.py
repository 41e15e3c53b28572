"""Chat nodes as the scripts use them: commands go in as JSON lines, events come out as such."""

import json
import subprocess

import testing


class Chat:
    """A running chat program under a name; `home` stays when it is killed, for the next one."""

    def __init__(self, t, name, tracker, *more):
        self.name = name
        self.home = t.folder / "homes" / name
        self.process = t.start("chat", "--name", name, "--tracker", tracker, "--host", "127.0.0.1", "--home", self.home,
                               "--json", "--stay", *more, stdin=subprocess.PIPE)

    def ready(self):
        return self.process.wait_event("ready", 20)

    def registered(self):
        """Until the tracker knows the name: others can be asked to write to it."""
        return self.process.wait_event("tracker_state", 20)

    def command(self, command, **members):
        """Hands a command over; its answer, if any, comes as an event."""
        line = json.dumps({"command": command, **members}) + "\n"
        try:
            self.process.popen.stdin.write(line.encode())
            self.process.popen.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it was killed

    def events(self, kind):
        return self.process.events(kind)

    def ask(self, command, timeout=20, **members):
        """The answer to a command; no other of the same kind may be under way."""
        before = len(self.answers(command))
        self.command(command, **members)

        def answered():
            if self.process.code is not None:
                raise testing.Failure(f"{self.name} ended with {self.process.code}: {self.process.tail()}")
            return self.answers(command)[before:]

        answer = testing.until(answered, timeout, f"{self.name}'s answer to {command}")[0]
        if answer["event"] == "error":
            raise testing.Failure(f"{self.name}: {command}: {answer}")
        return answer

    def answers(self, command):
        return [one for one in self.process.events()
                if one["event"] in ("done", "error") and one.get("command") == command]

    def heard(self):
        """The texts of others that were told as events in this run, with the conversation."""
        return [(one["with"], one["text"]) for one in self.events("message") if not one["own"]]

    def history(self, name, count=100000):
        return [one["text"] for one in self.ask("history", **{"with": name, "count": count})["messages"]]

    def wait_history(self, name, texts, timeout=30):
        """Until the conversation is exactly these texts."""
        testing.until(lambda: self.history(name) == texts, timeout, f"{self.name}'s history with {name}")

    def kill(self):
        self.process.kill()
