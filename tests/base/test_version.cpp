// SPDX-License-Identifier: MIT
#include <dmasync/version.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/other_build.hpp>

#include <string>

TEST_CASE("the header and the package have one version") { CHECK(dmasync::version == DMASYNC_PROJECT_VERSION); }

TEST_CASE("the version's numbers are those of its text") {
    const std::string numbers = std::to_string(DMASYNC_VERSION_MAJOR) + "." + std::to_string(DMASYNC_VERSION_MINOR) +
                                "." + std::to_string(DMASYNC_VERSION_PATCH);
    CHECK(dmasync::version == numbers);
}

TEST_CASE(
    "translation units that are compiled with other choices have a library of their own, which works beside this one") {
    CHECK(support::other_category() != &dmasync::error_category());
    dmasync::manual_loop loop;
    dmasync::domain media{loop};
    const dmasync::buffer b = media.allocate(64, "b");
    const dmasync::guard held = dmasync::try_lock(dmasync::write(b));
    CHECK(support::other_library_locks());
    CHECK(held);
    CHECK(!dmasync::try_lock(dmasync::write(b)));
}
