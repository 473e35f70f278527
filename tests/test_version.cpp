// SPDX-License-Identifier: MIT
#include <dmasync/version.hpp>

#include <doctest/doctest.h>

#include <string>

TEST_CASE("the header and the package have one version") { CHECK(dmasync::version == DMASYNC_PROJECT_VERSION); }

TEST_CASE("the version's numbers are those of its text") {
    const std::string numbers = std::to_string(DMASYNC_VERSION_MAJOR) + "." + std::to_string(DMASYNC_VERSION_MINOR) +
                                "." + std::to_string(DMASYNC_VERSION_PATCH);
    CHECK(dmasync::version == numbers);
}
