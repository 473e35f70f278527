// SPDX-License-Identifier: MIT
// Gives every file of the corpus to the target that it is for, without a fuzzer: what was once found stays found.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using target = int(const std::uint8_t* data, std::size_t size);

// DMASYNC_FUZZ_TARGETS is X(access) X(sync_file) ...
#define X(name) extern "C" target fuzz_##name;
DMASYNC_FUZZ_TARGETS
#undef X

namespace {

struct named_target {
    const char* name;
    target* function;
};
#define X(name) {#name, fuzz_##name},
constexpr named_target targets[]{DMASYNC_FUZZ_TARGETS}; // NOLINT(modernize-avoid-c-arrays): its size is not known here
#undef X

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator{folder}) { files.push_back(entry.path()); }
    std::sort(files.begin(), files.end());
    return files;
}

void replay(target& run, const std::filesystem::path& file) {
    std::printf("%s\n", file.c_str());
    std::fflush(stdout); // before it may crash
    std::ifstream stream{file, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{stream}, {}};
    const std::vector<std::uint8_t> data(text.begin(), text.end()); // on the heap without a spare byte
    run(data.data(), data.size());
}

} // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: %s CORPUS\n", arguments[0]);
        return 2;
    }
    for (const named_target& t : targets) {
        const auto files = files_in(std::filesystem::path{arguments[1]} / t.name);
        for (const auto& file : files) { replay(*t.function, file); }
        std::printf("%s: %zu files\n", t.name, files.size());
        if (files.empty()) { return 1; }
    }
    return 0;
}
