// SPDX-License-Identifier: MIT
// Gives libFuzzer the target that this program is for; the corpus is replayed by the same objects.
#include <cstddef>
#include <cstdint>

extern "C" int DMASYNC_FUZZ_TARGET(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return DMASYNC_FUZZ_TARGET(data, size);
}
