// SPDX-License-Identifier: MIT
#include <dmasync/detail/sync/biased_lock.hpp>

#include "programs.hpp"

#include <mutex>

namespace {

using dmasync::detail::biased_lock;
using interleave::check;

constexpr std::uint32_t few_uses = 2;

/// The thread that has the lock finds what the last one left, however it was locked.
void use(biased_lock& lock, interleave::canary& shared, unsigned rounds) {
    for (unsigned i = 0; i < rounds; ++i) {
        const std::lock_guard guard{lock};
        shared.write();
    }
}

/// One thread is given the bias, and another one takes it away.
void revoked() {
    biased_lock lock{false, few_uses};
    interleave::canary shared;
    interleave::run_threads({[&] { use(lock, shared, 5); }, [&] { use(lock, shared, 1); }});
    check(shared.read() == 6, "nothing is lost");
}

/// And it is given anew.
void given_again() {
    biased_lock lock{false, few_uses};
    interleave::canary shared;
    interleave::run_threads({[&] { use(lock, shared, 22); }, [&] { use(lock, shared, 2); }});
    check(shared.read() == 24, "nothing is lost");
}

/// Two come at once.
void revoked_by_two() {
    biased_lock lock{false, few_uses};
    interleave::canary shared;
    interleave::run_threads(
        {[&] { use(lock, shared, 4); }, [&] { use(lock, shared, 1); }, [&] { use(lock, shared, 1); }});
    check(shared.read() == 6, "nothing is lost");
}

/// The others might have had it, but for the first one.
void others_use_it_often() {
    biased_lock lock{false, few_uses};
    interleave::canary shared;
    interleave::run_threads({[&] { use(lock, shared, 4); }, [&] { use(lock, shared, 4); }});
    check(shared.read() == 8, "nothing is lost");
}

constexpr interleave::settings bounded{.mode = interleave::settings::search::bounded, .bound = 3};

const interleave::registration programs{
    {"biased_lock", "biased_lock.revoked", revoked, bounded},
    {"biased_lock", "biased_lock.given_again", given_again, interleave::few_preemptions},
    {"biased_lock", "biased_lock.revoked_by_two", revoked_by_two, interleave::few_preemptions},
    {"biased_lock", "biased_lock.others_use_it_often", others_use_it_often, interleave::few_preemptions},
    {"biased_lock", "biased_lock.by_chance", given_again, interleave::by_chance},
};

} // namespace
