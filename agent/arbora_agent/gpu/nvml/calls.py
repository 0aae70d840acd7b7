"""One call of NVIDIA's library, and what its failure means.

    not supported, no permission, not found ...      the field is absent: None, never 0
    GPU_IS_LOST, RESET_REQUIRED                      `DeviceAway`: this device's reading ends, with that answer
    the driver or its library is not there           `GpusUnavailable`
    unknown error, timeout, interrupt trouble ...    the field is absent, and the words are kept: a device of
                                                     which nothing else is heard is silent

What a device does not support is not asked again until `forget`, since it is asked every few seconds. Decides
nothing about health.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from arbora.errors import ArboraError
from arbora_agent.gpu.port import GpusUnavailable
from arbora_agent.gpu.reading import Answer

Field = tuple[int, int]
"""A field value: its id, and the scope that its id needs, mostly 0."""
ALL_LINKS = 0xFFFFFFFF
"""Scope of a field value that is summed up over NVLinks."""


class Code(IntEnum):
    """nvmlReturn_t, as far as it means something here."""

    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    OPERATING_SYSTEM = 17
    LIB_RM_VERSION_MISMATCH = 18
    NO_DATA = 21
    ARGUMENT_VERSION_MISMATCH = 25
    DEPRECATED = 26


FOR_GOOD = frozenset(
    {
        Code.INVALID_ARGUMENT,  # a link or a field that this device or this driver has not
        Code.NOT_SUPPORTED,
        Code.FUNCTION_NOT_FOUND,
        Code.ARGUMENT_VERSION_MISMATCH,
        Code.DEPRECATED,
    }
)
"""Absent, and it stays so."""
ABSENT = FOR_GOOD | {Code.NO_PERMISSION, Code.NOT_FOUND, Code.NO_DATA}
"""Absent now."""
NO_DRIVER = frozenset(
    {Code.UNINITIALIZED, Code.DRIVER_NOT_LOADED, Code.LIBRARY_NOT_FOUND, Code.LIB_RM_VERSION_MISMATCH}
)
"""Said of one device, it is still true of all."""

MEMORY_V2 = 0x02000028
"""nvmlMemory_v2."""

_VERDICTS = {Code.GPU_IS_LOST: Answer.LOST, Code.RESET_REQUIRED: Answer.RESET_REQUIRED}
_VALUE = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Member of the union by nvmlValueType_t."""
_HINTS = {
    Code.UNINITIALIZED: "The driver went away. It is reached again as soon as it is back.",
    Code.DRIVER_NOT_LOADED: "Load NVIDIA's driver on this node; `nvidia-smi` there must work.",
    Code.LIBRARY_NOT_FOUND: "The container needs the NVIDIA runtime, such as runtimeClassName: nvidia.",
    Code.LIB_RM_VERSION_MISMATCH: (
        "The library is of another version than the kernel's driver: after an upgrade of the driver start the "
        "pod anew or, where the old driver is still loaded, the node."
    ),
    Code.OPERATING_SYSTEM: "A cgroup keeps the container from the devices: give it NVIDIA_VISIBLE_DEVICES=all.",
    Code.NO_PERMISSION: "The pod may not use the devices /dev/nvidia*: let it run as a user who may.",
}


class DeviceAway(ArboraError):
    """The device can't be read any further, and that is a verdict on it."""

    reason = "DEVICE_AWAY"

    def __init__(self, answer: Answer, message: str) -> None:
        super().__init__(message)
        self.answer = answer


def unavailable(error: Any, doing: str) -> GpusUnavailable:
    """For an NVMLError that no device can be blamed for."""
    return GpusUnavailable(f"{doing}: {words(error)}", hint=_HINTS.get(error.value, ""))


def words(error: Any) -> str:
    """The driver's, of an NVMLError."""
    return str(error).rstrip(".") or f"NVML error {error.value}"


def verdict(error: Any, doing: str) -> Answer:
    """What an NVMLError says of the device that was asked. Raises GpusUnavailable where it is not its fault."""
    if error.value in NO_DRIVER:
        raise unavailable(error, doing) from error
    return _VERDICTS.get(error.value, Answer.SILENT)


def memory_of(calls: Calls, handle: Any) -> Any:
    """nvmlMemory_v2_t of a device or an instance; before driver 510 nvmlMemory_t, whose `used` holds what is
    reserved as well; or None."""
    name = "nvmlDeviceGetMemoryInfo"
    return calls.first(handle, (name, MEMORY_V2), (name,))


def address(handle: Any) -> int:
    """Of a device. It names the device as long as the library is initialised."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


class Calls:
    """The calls about one device and its instances. Not for several threads."""

    def __init__(self, nvml: Any) -> None:
        """nvml: the module pynvml."""
        self._nvml = nvml
        self._unsupported: set[object] = set()
        self.answered = 0
        """Calls and field values that told something, since `begin`."""
        self.trouble = ""
        """Words of a failure that says neither what is supported nor what is wrong, since `begin`."""

    def begin(self) -> None:
        """Another reading."""
        self.answered = 0
        self.trouble = ""

    def forget(self) -> None:
        """What is supported may have changed."""
        self._unsupported.clear()

    def ask(self, name: str, handle: Any, *arguments: Any) -> Any:
        """The function's result, or None where there is none. Raises DeviceAway, GpusUnavailable."""
        return self._call((name, address(handle), arguments), name, handle, *arguments)

    def first(self, handle: Any, *alternatives: Sequence[Any]) -> Any:
        """The first result of several functions with their arguments; for what older drivers call otherwise."""
        for name, *arguments in alternatives:
            result = self.ask(name, handle, *arguments)
            if result is not None:
                return result
        return None

    def fill(self, name: str, handle: Any, kind: str) -> Any:
        """A structure of this kind as the function has filled it in, or None."""
        make = getattr(self._nvml, kind, None)
        if make is None:
            return None  # an older package
        structure = make()
        done = self._call((name, address(handle)), name, handle, ctypes.byref(structure))
        return None if done is None else structure

    def fields(self, handle: Any, wanted: Sequence[Field]) -> dict[Field, int]:
        """Those of the field values that there are, by one call."""
        where = address(handle)
        asked = [each for each in wanted if (where, each) not in self._unsupported]
        if not asked:
            return {}
        name = "nvmlDeviceGetFieldValues"
        values = self._call((name, where), name, handle, asked)
        if values is None:
            return {}
        self.answered -= 1  # the call by itself told nothing
        found: dict[Field, int] = {}
        for field, value in zip(asked, values, strict=True):
            if value.nvmlReturn:
                self._failed(self._nvml.NVMLError(value.nvmlReturn), (where, field), f"field {field[0]}")
            elif (number := _number(value)) is not None:
                self.answered += 1
                found[field] = number
        return found

    def _call(self, key: object, name: str, *arguments: Any) -> Any:
        if key in self._unsupported:
            return None
        function = getattr(self._nvml, name, None)
        if function is None:
            return None  # an older package
        try:
            result = function(*arguments)
        except self._nvml.NVMLError as error:
            self._failed(error, key, name)
            return None
        except UnicodeDecodeError as error:
            self.trouble = self.trouble or f"{name} answered what is no text: {error}"
            return None
        self.answered += 1
        return result

    def _failed(self, error: Any, key: object, name: str) -> None:
        if error.value in FOR_GOOD:
            self._unsupported.add(key)
        if error.value in ABSENT:
            return
        answer = verdict(error, name)
        if answer is not Answer.SILENT:
            raise DeviceAway(answer, words(error)) from error
        self.trouble = self.trouble or words(error)


def _number(value: Any) -> int | None:
    """Of a field value; None where its type is not known, or nobody has filled it in."""
    untouched = not (value.valueType or value.timestamp or value.latencyUsec)
    if untouched or not 0 <= value.valueType < len(_VALUE):
        return None
    return int(getattr(value.value, _VALUE[value.valueType]))
