// SPDX-License-Identifier: MIT
// Mistakes that do not compile, each where its name is defined. Without one, what is right beside them.
#include <dmasync/lock.hpp>
#include <dmasync/task.hpp>

#include <chrono>
#include <system_error>

using namespace dmasync;
using namespace std::chrono_literals;

task<> right_way(buffer a, buffer b, std::error_code& ec) {
    const lock_options kept{.lease = 5ms};
    lock_options changed{.lease = 5ms};
    const auto request = read(b);
    auto one = co_await lock(write(a), lock_options{.lease = 5ms}, ec);
    auto two = co_await lock(write(a), request, lock_options{.lease = 5ms});
    auto three = co_await lock(write(a), kept, ec);
    auto four = co_await lock(write(a), request, changed, ec);
    const auto five = try_lock(write(a), lock_options{.lease = 5ms}, ec);
    const auto six = blocking_lock(write(a), request, kept);
}

#if defined(BRACED_OPTIONS)
task<> mistake(buffer a, std::error_code& ec) { auto held = co_await lock(write(a), {.lease = 5ms}, ec); }
#endif

#if defined(BRACED_OPTIONS_OF_TWO)
void mistake(buffer a, buffer b) { auto held = try_lock(write(a), read(b), {.lease = 5ms}); }
#endif

#if defined(NO_ACCESS)
task<> mistake(buffer a) { auto held = co_await lock(a); }
#endif

#if defined(NO_BUFFER)
task<> mistake() { auto held = co_await lock("camera"); }
#endif

#if defined(OPTIONS_FIRST)
task<> mistake(buffer a) { auto held = co_await lock(lock_options{.lease = 5ms}, read(a)); }
#endif

#if defined(LEASE_WITHOUT_OPTIONS)
task<> mistake(buffer a) { auto held = co_await lock(write(a), 5ms); }
#endif

#if defined(CONST_ERROR_CODE)
void mistake(buffer a, const std::error_code& ec) { auto held = blocking_lock(write(a), ec); }
#endif

#if defined(TEMPORARY_ERROR_CODE)
void mistake(buffer a) { auto held = try_lock(write(a), std::error_code{}); }
#endif

#if defined(WRONG_OPTION)
task<> mistake(buffer a) { auto held = co_await lock(write(a), lock_options{.timeout = 5ms}); }
#endif

#if defined(NO_COROUTINE_TYPE)
void mistake(buffer a) { auto held = co_await lock(write(a)); }
#endif

#if defined(CONST_GUARD_UNLOCKED)
void mistake(buffer a) {
    const auto held = try_lock(read(a));
    held.unlock();
}
#endif

#if defined(WRITING_AS_A_READER)
void mistake(buffer a) {
    auto held = try_lock(read(a));
    held.bytes<0>()[0] = std::byte{1};
}
#endif
