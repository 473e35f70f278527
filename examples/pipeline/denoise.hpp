// SPDX-License-Identifier: MIT
#pragma once
/// \file denoise.hpp  Less noise where the picture stands still.

#include <cstddef>
#include <span>

namespace pipeline {

/// Blends each sample of `current` with the same sample of `previous`: half and half where they are alike, less the
/// more they differ, not at all where something moved. Integers only, the same result everywhere.
/// The three are equally long and `out` overlaps neither of the others. Throws std::invalid_argument otherwise.
void temporal_denoise(std::span<const std::byte> current, std::span<const std::byte> previous,
                      std::span<std::byte> out);

} // namespace pipeline
