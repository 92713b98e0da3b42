"""``qsub``, ``qstat``, ``qdel`` and ``pbsnodes``: each hands its arguments to the server and prints what that answers."""

import json
import os
import socket
import sys

# The environment variables that the server needs to see; all others go along only with qsub, for -V and -v.
LAB = "CLUSTERHUB_PBS_LAB"


def connect(folder: str, name: str) -> socket.socket:
    """A connection to the server. The path of a socket is short by law, so the folder is named by a descriptor."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        line = socket.socket(socket.AF_UNIX)
        line.connect(f"/proc/self/fd/{directory}/{name}")
        return line
    finally:
        os.close(directory)


def refused(command: str, folder: str) -> int:
    """What PBS says where nobody answers."""
    config = {}
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            config = json.load(file)
    except OSError:
        pass
    name = config.get("server", "pbshost")
    wanted = os.environ.get("PBS_SERVER") or name
    known = wanted in (name, *config.get("nodes", ("pbsn1", "pbsn2")))
    number = 15010 if known else 15008
    print("Connection refused" if known else "Unknown Host.", file=sys.stderr)
    if command == "pbsnodes":
        print(f"{command}: cannot connect to server {wanted}, error={number}", file=sys.stderr)
        return 1
    print(f"{command}: cannot connect to server {wanted} (errno={number})", file=sys.stderr)
    return 255 if command == "qstat" else number % 256


def main(command: str, argv: list) -> int:
    """Run one command."""
    folder = os.environ.get(LAB, "")
    other = os.environ.get("PBS_SERVER")
    try:
        line = connect(folder, "server.sock")
    except OSError:
        return refused(command, folder)
    with line, line.makefile("rwb") as stream:
        asked = {"command": command, "argv": argv, "cwd": os.getcwd(), "server": other}  # noqa: PTH109
        if command == "qsub":
            asked["environment"] = dict(os.environ)
        while True:
            stream.write(json.dumps(asked).encode() + b"\n")
            stream.flush()
            answer = stream.readline()
            if not answer:
                print(f"{command}: Batch protocol error", file=sys.stderr)
                return 15031 % 256
            said = json.loads(answer)
            if said.get("want") == "stdin":
                asked = {"stdin": sys.stdin.buffer.read().decode("utf-8", "surrogateescape")}
            elif said.get("want") == "refused":
                return refused(command, folder)
            else:
                break
    for stream, text in ((sys.stdout, said["stdout"]), (sys.stderr, said["stderr"])):
        stream.buffer.write(text.encode("utf-8", "surrogateescape"))
        stream.flush()
    return said["code"]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except BrokenPipeError:
        os._exit(1)
