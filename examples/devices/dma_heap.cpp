// SPDX-License-Identifier: MIT
#include "dma_heap.hpp"

#include <fcntl.h>
#include <linux/dma-heap.h>

namespace devices {

dmasync::unique_fd dma_heap::allocate(std::size_t bytes) {
    dma_heap_allocation_data request{};
    request.len = bytes;
    request.fd_flags = O_RDWR | O_CLOEXEC;
    device_.call(DMA_HEAP_IOCTL_ALLOC, &request, "DMA_HEAP_IOCTL_ALLOC");
    return dmasync::unique_fd{static_cast<int>(request.fd)};
}

} // namespace devices
