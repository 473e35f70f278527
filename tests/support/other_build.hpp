// SPDX-License-Identifier: MIT
#pragma once
/// \file other_build.hpp  The library once more in the same program, compiled with other choices (tests/CMakeLists.txt).

namespace support {

/// The error category of that library.
[[nodiscard]] const void* other_category() noexcept;

/// Whether a lock of that library can be had, and excludes another one.
[[nodiscard]] bool other_library_locks();

} // namespace support
