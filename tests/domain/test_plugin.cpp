// SPDX-License-Identifier: MIT
// Several copies of the library in one process: in a program, and in two plug-ins that hide their symbols.
#include <plugin/plugin.hpp>

#include <dmasync/detail/base/failure.hpp>
#include <dmasync/error.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>

#include <system_error>

#include <dlfcn.h>

using namespace dmasync;

namespace {

/// Stays loaded: what it has made may outlive a test.
const plugin::functions& load(const char* path) {
    void* const object = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(object != nullptr, ::dlerror());
    void* const entry = ::dlsym(object, plugin::entry);
    REQUIRE(entry != nullptr);
    return *reinterpret_cast<const plugin::functions* (*)()>(entry)();
}

struct fixture {
    fixture() {
        REQUIRE(one.category != &error_category()); // else there would be nothing to tell apart
        REQUIRE(one.category != other.category);
    }

    const plugin::functions& one = load(DMASYNC_TEST_PLUGIN_ONE);
    const plugin::functions& other = load(DMASYNC_TEST_PLUGIN_OTHER);
    manual_loop loop;
    domain media{loop};
    buffer frame = media.allocate(4096, "frame");
    std::error_code ec;
};

/// What a plug-in says of a buffer that its host holds.
struct refused : fixture {
    refused() {
        const auto held = try_lock(read(frame));
        one.try_write(frame, ec);
    }
};

} // namespace

TEST_CASE_FIXTURE(refused, "an error of a plug-in's is the errc that its host names") {
    CHECK(ec == errc::would_block);
    CHECK(errc::would_block == ec);
    CHECK(ec != errc::closed);
}

TEST_CASE_FIXTURE(refused, "an error of a plug-in's is the errc that another plug-in names") {
    CHECK(other.is_would_block(ec));
}

TEST_CASE_FIXTURE(refused, "an error of a plug-in's equals the condition that its host makes of an errc") {
    CHECK(ec == std::error_condition{static_cast<int>(errc::would_block), error_category()});
    CHECK(ec != std::error_condition{static_cast<int>(errc::closed), error_category()});
    CHECK(ec == std::errc::resource_unavailable_try_again);
}

TEST_CASE_FIXTURE(refused, "an error of a plug-in's is kept as the library's own, not as an errno") {
    CHECK(detail::failure::from(ec) == detail::failure{errc::would_block});
}

TEST_CASE("an errno that has the number of an errc is not that errc") {
    const std::error_code ec{static_cast<int>(errc::would_block), std::system_category()};
    CHECK(ec != errc::would_block);
    CHECK(ec != std::error_condition{static_cast<int>(errc::would_block), error_category()});
}

#if defined(__cpp_exceptions)
TEST_CASE_FIXTURE(fixture, "an error that a plug-in throws is the errc that its host names") {
    try {
        one.lock_closed(frame);
    } catch (const std::system_error& e) { ec = e.code(); }
    CHECK(ec == errc::closed);
}
#endif

TEST_CASE_FIXTURE(fixture, "a thread is the same one in a program and in its plug-ins") {
    CHECK(one.this_thread_id() == detail::this_thread_id());
    CHECK(one.thread_of_libc() == detail::thread_of_libc()); // also where the processor tells, and it is not used
}

TEST_CASE_FIXTURE(fixture, "a plug-in uses its host's single-threaded domain on the same thread") {
    domain own{loop, {.single_threaded = true}};
    one.try_write(own.allocate(4096), ec);
    CHECK_FALSE(ec);
}

TEST_CASE_FIXTURE(fixture, "a plug-in does not block in a turn of a loop that its host runs") {
    manual_loop second;
    const auto held = try_lock(read(frame));
    support::posted inside{[this] { one.blocking_write(frame, ec); }};
    second.post(inside);
    second.run_ready();
    CHECK(ec == errc::would_deadlock);
}

TEST_CASE_FIXTURE(fixture, "a plug-in's coroutine that waits in a turn of a loop that its host runs goes on there") {
    manual_loop second{loop.time_source()};
    auto held = try_lock(read(frame));
    probe waits;
    support::posted inside{[&] { waits = one.wait_to_write(frame); }};
    second.post(inside);
    second.run_ready();
    held.unlock();
    loop.run_ready();
    CHECK(!waits.done());
    second.run_ready();
    CHECK(waits.done());
}
