// SPDX-License-Identifier: MIT
// Mistakes that a compiler warns of, each where its name is defined; without one, the right way beside them, which is quiet.
#include <dmasync/dmasync.hpp>

#include <chrono>
#include <span>
#include <stop_token>
#include <string_view>

using namespace dmasync;

task<> use(buffer b) { auto held = co_await lock(write(b)); }

task<> right_way(domain& media, std::stop_source& source, event_loop& loop) {
    const buffer b = media.allocate(4096);
    const auto held = co_await lock(write(b), read(media.allocate(4096)), lock_options{.stop = source.get_token()});
    const std::span<std::byte> bytes = held.bytes<0>();
    const std::string_view name = b.name();
    bytes[0] = std::byte(name.size());
    auto later = lock(read(b));
    const auto other = co_await later;
    co_await use(b);
    co_await sleep_for(loop, std::chrono::seconds{1});
}

#if defined(FORGOTTEN_CO_AWAIT)
task<> forgotten_co_await(buffer b) {
    auto mistake = lock(dma_write(b)); // locks nothing
    co_await use(b);
}
#endif

#if defined(FORGOTTEN_CO_AWAIT_OF_A_SET)
task<> forgotten_co_await_of_a_set(lock_set& s, buffer b) {
    auto mistake = s.lock();
    co_await use(b);
}
#endif

#if defined(FORGOTTEN_TASK)
void forgotten_task(buffer b) { auto mistake = use(b); }
#endif

#if defined(STOP_TOKEN_GONE)
void stop_token_gone(domain& media, std::stop_source& source) {
    const lock_options mistake{.stop = source.get_token()};
    const auto held = try_lock(read(media.allocate(4096)), mistake);
}
#endif

#if defined(BUFFER_GONE)
void buffer_gone(domain& media) {
    const auto mistake = read(media.allocate(4096));
    const auto held = try_lock(mistake);
}
#endif

#if defined(GUARD_GONE)
std::byte guard_gone(const buffer& b) {
    const std::span<const std::byte> mistake = try_lock(read(b)).bytes<0>();
    return mistake[0];
}
#endif
