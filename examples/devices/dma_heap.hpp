// SPDX-License-Identifier: MIT
#pragma once
/// \file dma_heap.hpp  Memory that any device can use, from the kernel's heaps.

#include "device_node.hpp"

#include <dmasync/unique_fd.hpp>

#include <cstddef>
#include <string>

namespace devices {

class dma_heap {
public:
    /// Opens the heap of this name: "system" has memory of single pages. Throws std::system_error.
    explicit dma_heap(const std::string& name) : device_{"/dev/dma_heap/" + name} {}

    /// A dma-buf of `bytes` zeroed bytes, rounded up to whole pages. Throws std::system_error.
    [[nodiscard]] dmasync::unique_fd allocate(std::size_t bytes);

private:
    device_node device_;
};

} // namespace devices
