// SPDX-License-Identifier: MIT
// Can the processor and a converter from memory to memory share buffers of a dma-heap, each in its turn? `--help` says
// more.
#include "common/first_failure.hpp"
#include "common/interruption.hpp"
#include "common/make_loop.hpp"
#include "converter.hpp"
#include "options.hpp"
#include "stages.hpp"
#include "workshop.hpp"

#include <dmasync/when_all.hpp>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

using namespace transcode;
using common::note_failure;

namespace {

dmasync::task<> run_all(workshop& w, converter& c, verdict& result, common::first_failure& failure) {
    co_await dmasync::when_all(note_failure(produce(w), failure), note_failure(c.run(), failure),
                               note_failure(consume(w, result), failure));
}

void print_summary(const workshop& w, const verdict& result, std::string_view loop_kind) {
    std::printf("%u pictures converted as they should be, %u otherwise, the last with checksum %08x\n", result.right,
                result.wrong, result.checksum);
    const std::string text = std::to_string(w.media.counters().leases_expired) + " leases expired; event loop: ";
    std::printf("%s%s\n", text.c_str(), std::string{loop_kind}.c_str());
}

/// Returns: the exit code.
int run(const options& chosen) {
    const dmasync::made_event_loop made = common::make_loop(chosen.epoll);
    std::stop_source stop;
    common::interruption signals{stop};
    workshop w{*made.loop, chosen.heap, chosen.frames, stop.get_token()};
    converter c{w, chosen.converter};
    common::first_failure failure{stop};
    verdict result;
    made.loop->run(run_all(w, c, result, failure));
    if (signals.signal() != 0) { return 128 + signals.signal(); }
    failure.rethrow();
    print_summary(w, result, made.kind);
    return result.wrong == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    options chosen;
    try {
        chosen = parse_options(std::span{argv + 1, static_cast<std::size_t>(argc - 1)});
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "dmasync_transcode: %s (--help says more)\n", wrong.what());
        return 2;
    }
    if (chosen.help) { return std::fputs(usage.data(), stdout) < 0; }
    try {
        return run(chosen);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dmasync_transcode: %s\n", error.what());
        return 1;
    }
}
