"""An image with the Dask of this interpreter, made from this machine's own files: `image.py key NAME...`, or
`image.py write ARCHIVE NAME...`.

`write` makes an archive with an image of each NAME; `key` prints what differs where the images would.

It stands in for a public Dask image where there is no registry: Python, Dask and what a Dask image has beside it, in the versions
that the client has, below a shell and the usual small commands. The archive is an OCI layout, as `ctr images import` takes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

HOLDS = (
    "dask",
    "distributed",
    "bokeh",
    "lz4",
    "numpy",
    "pandas",
    "xarray",
    "netcdf4",
    "iris-sample-data",
    "cryptography",
    "pyarrow",
    "scipy",
    "sgp4",
)
"""What a Dask image has, and what the demo and docs/examples read and call; those of them that are installed here."""
COMMANDS = [  # the shell's, and what people and liveness probes call
    *(
        "sh",
        "bash",
        "env",
        "cat",
        "cp",
        "mv",
        "rm",
        "ls",
        "mkdir",
        "ln",
        "touch",
        "chmod",
        "head",
        "tail",
        "tee",
        "wc",
        "sort",
    ),
    *(
        "cut",
        "tr",
        "grep",
        "sed",
        "awk",
        "find",
        "xargs",
        "date",
        "sleep",
        "true",
        "false",
        "test",
        "id",
        "hostname",
        "uname",
    ),
    *("ps", "kill", "dd", "df", "du", "sha256sum", "base64", "tar", "gzip", "seq", "timeout", "nproc", "getent"),
]
VENV = Path("/opt/dask")
PAUSE = "clusterhub.test/pause:1"
"""What holds the namespaces of a pod."""
MERGED = ("bin", "sbin", "lib", "lib64")  # each a link into /usr, as everywhere by now
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
    "dask:x:1000:1000:dask:/home/dask:/bin/bash\n",
    "group": "root:x:0:\nnogroup:x:65534:\ndask:x:1000:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def installed(wanted: Iterable[str]) -> dict[str, Distribution]:
    """``wanted`` and all they need, as far as they are installed here, by name."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in wanted]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop().name).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        needs = map(Requirement, found[name].requires or ())
        waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return dict(sorted(found.items()))


def key(names: Iterable[str]) -> str:
    """Differs where the image would: by interpreter, versions, names, and how it is made."""
    versions = [f"{name}=={found.version}" for name, found in installed(HOLDS).items()]
    told = [sys.version, sys.base_prefix, *versions, *names, Path(__file__).read_text(encoding="utf-8")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


# --- What is in it


def unmerged(path: str) -> str:
    """``path`` as it is in the image, where /bin and /lib are links."""
    first = path.lstrip("/").split("/", 1)[0]
    return f"/usr{path}" if first in MERGED else path


def interpreter_files() -> Iterator[tuple[str, Path]]:
    """The interpreter below this environment, at its own place; without tests and what only compiling needs."""
    base = Path(sys.base_prefix)
    program = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    yield str(program), program
    library = Path(sysconfig.get_path("stdlib"))
    for folder, folders, files in os.walk(library):
        unwanted = {"test", "tests", "idlelib", "ensurepip", "site-packages", "dist-packages", "turtledemo"}
        folders[:] = [name for name in folders if name not in unwanted and not name.startswith("config-")]
        for name in files:
            yield str(Path(folder, name)), Path(folder, name)
    for shared in (base / "lib").glob("libpython3*.so*"):
        yield str(shared), shared


def package_files() -> Iterator[tuple[str, Path]]:
    """The distributions, in an environment of the image's own."""
    here = Path(sysconfig.get_path("purelib")).resolve()
    for found in installed(HOLDS).values():
        for file in found.files or ():
            path = Path(str(found.locate_file(file))).resolve()
            if path.is_relative_to(here) and path.is_file():
                yield str(site_packages() / path.relative_to(here)), path


def site_packages() -> Path:
    return VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def command_files() -> Iterator[tuple[str, Path]]:
    for name in COMMANDS:
        if path := shutil.which(name, path="/usr/bin:/bin"):
            yield f"/usr/bin/{name}", Path(path).resolve()


def libraries(programs: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The system's shared libraries that ``programs`` load, and the loader itself."""
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    for path in sorted(set(re.findall(r"(?:=>\s+|^\s+)(/\S+)", listed, flags=re.MULTILINE))):
        if unmerged(path).startswith(("/usr/", sys.base_prefix)):
            yield unmerged(path), Path(path).resolve()


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def contents() -> dict[str, Path]:
    """Every file of the image, and where it is here."""
    files = {**dict(command_files()), **dict(interpreter_files()), **dict(package_files())}
    programs = [path for path in files.values() if (path.suffix == ".so" or os.access(path, os.X_OK)) and is_elf(path)]
    return {**dict(libraries(programs)), **files}


# --- The archive


def add_text(layer: tarfile.TarFile, path: str, text: str, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode = len(text.encode()), mode
    layer.addfile(entry, io.BytesIO(text.encode()))


def add_link(layer: tarfile.TarFile, path: str, target: str) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    layer.addfile(entry)


def add_folder(layer: tarfile.TarFile, path: str, mode: int = 0o755, owner: int = 0) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
    layer.addfile(entry)


def add_file(layer: tarfile.TarFile, path: str, source: Path) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    status = source.stat()
    entry.size, entry.mode, entry.mtime = (
        status.st_size,
        0o755 if status.st_mode & 0o100 else 0o644,
        int(status.st_mtime),
    )
    with source.open("rb") as file:
        layer.addfile(entry, file)


def write_layer(path: Path) -> None:
    files = contents()
    folders = {str(parent) for file in files for parent in Path(file).parents} - {"/"}
    python = VENV / "bin" / "python"
    with tarfile.open(path, "w") as layer:
        for name in sorted(
            folders | {"/usr/lib64", "/usr/sbin", "/etc", "/root", str(python.parent), "/proc", "/sys", "/dev"}
        ):
            add_folder(layer, name)
        add_folder(layer, "/tmp", 0o1777)
        add_folder(layer, "/home")
        add_folder(layer, "/home/dask", owner=1000)
        for name in MERGED:
            add_link(layer, f"/{name}", f"usr/{name}")
        for name, text in ETC.items():
            add_text(layer, f"/etc/{name}", text)
        for name, source in sorted(files.items()):
            add_file(layer, name, source)
        home = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
        add_text(layer, f"{VENV}/pyvenv.cfg", f"home = {home.parent}\nversion = {platform.python_version()}\n")
        for name in ("python", "python3"):
            add_link(layer, str(python.with_name(name)), str(home))
        # Guarded, since the nanny's children import it.
        script = f'#!{python}\nimport sys\n\nfrom dask.__main__ import main\n\nif __name__ == "__main__":\n    sys.exit(main())\n'
        add_text(layer, str(python.with_name("dask")), script, 0o755)


def write_archive(archive: Path, images: Mapping[str, list[str]]) -> None:
    """An OCI layout whose ``images`` differ in their command alone."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch, tarfile.open(archive, "w") as out:
        layer = Path(scratch, "layer.tar")
        write_layer(layer)
        with layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        add_file(out, f"blobs/sha256/{digest}", layer)

        def blob(media: str, content: object) -> dict[str, object]:
            text = json.dumps(content)
            named = hashlib.sha256(text.encode()).hexdigest()
            if named not in written:
                add_text(out, f"blobs/sha256/{named}", text)
                written.add(named)
            return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{named}", "size": len(text)}

        written: set[str] = set()
        manifests = []
        for name, command in images.items():
            path = f"PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
            config = {
                "architecture": machine,
                "os": "linux",
                "config": {"Env": [path, "LANG=C.UTF-8"], "Cmd": command, "WorkingDir": "/"},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
            layers = [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": f"sha256:{digest}",
                    "size": layer.stat().st_size,
                }
            ]
            manifest = {"schemaVersion": 2, "config": blob("config.v1+json", config), "layers": layers}
            entry = blob("manifest.v1+json", manifest)
            manifests.append({**entry, "annotations": {"io.containerd.image.name": name}})
        add_text(out, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}))
        add_text(out, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))


def main() -> None:
    match sys.argv[1:]:
        case ["key", *names]:
            print(key(names))
        case ["write", archive, *names]:
            write_archive(Path(archive), {name: ["bash"] for name in names} | {PAUSE: ["sleep", "infinity"]})
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
