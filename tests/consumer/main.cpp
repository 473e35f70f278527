// SPDX-License-Identifier: MIT
// A program of somebody else, built in every way in which dmasync can be used.
#include <dmasync/access.hpp>
#include <dmasync/version.hpp>

#include <cstdio>

int main() {
    std::printf("dmasync %s\n", dmasync::version.data());
    return conflict(dmasync::access::read, dmasync::access::dma_read) ? 1 : 0;
}
