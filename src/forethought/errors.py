"""Every error that Forethought raises on purpose.

    ForethoughtError
    ├── ConfigError            a setting is out of range or does not fit another one
    ├── MissingExtra           an optional dependency is not installed
    ├── ModelFileError         a model file is missing, damaged or cannot be fetched
    │   ├── UnknownModel       no such name in the registry, no such file
    │   ├── DownloadError      every source failed; the message lists what was tried
    │   ├── ChecksumMismatch   the bytes are not those that were asked for
    │   └── NotEnoughDisk      the file would not fit on the disk
    ├── EngineError            llama.cpp could not do what was asked
    │   ├── ModelLoadError     llama.cpp refused the file; the message quotes its log
    │   ├── NotEnoughMemory    the context would not fit; the message has the estimate
    │   ├── PromptTooLong      the prompt does not fit the context
    │   ├── DecodeError        llama_decode failed in a way that a retry will not mend
    │   └── EngineClosed       the engine was closed before the request was served
    ├── RemoteError            a model elsewhere cannot be reached, or refuses
    ├── EvaluatorError         an evaluator could not score; never replaced by a made-up score
    ├── StoreError             the threshold store holds something unreadable
    └── SearchError            the search cannot go on

Messages say what happened, with the offending value, and what to do.
"""

from __future__ import annotations


class ForethoughtError(Exception):
    """Base of all errors below; catch it to catch them all."""


class ConfigError(ForethoughtError):
    """A setting is out of range or does not fit another one."""


class MissingExtra(ForethoughtError):
    """An optional dependency is not installed."""


class ModelFileError(ForethoughtError):
    """A model file is missing, damaged or cannot be fetched."""


class UnknownModel(ModelFileError):
    """Neither a name in the registry nor a file on disk."""


class DownloadError(ModelFileError):
    """Every source of a model file failed."""


class ChecksumMismatch(ModelFileError):
    """A file's bytes are not those that were asked for."""


class NotEnoughDisk(ModelFileError):
    """A model file would not fit on the disk."""


class EngineError(ForethoughtError):
    """llama.cpp could not do what was asked."""


class ModelLoadError(EngineError):
    """llama.cpp refused to load a model file."""


class NotEnoughMemory(EngineError):
    """Weights and context would not fit in the memory that is free."""


class PromptTooLong(EngineError):
    """A prompt does not fit the context."""


class DecodeError(EngineError):
    """llama_decode failed in a way that a retry will not mend."""


class EngineClosed(EngineError):
    """The engine was closed before the request was served."""


class RemoteError(ForethoughtError):
    """A model elsewhere cannot be reached, or refuses what was asked."""


class EvaluatorError(ForethoughtError):
    """An evaluator could not score a thought."""


class StoreError(ForethoughtError):
    """The threshold store holds something that cannot be read."""


class SearchError(ForethoughtError):
    """The search cannot go on."""
