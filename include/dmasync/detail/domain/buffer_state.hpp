// SPDX-License-Identifier: MIT
#pragma once
/// \file buffer_state.hpp  What is known of a buffer, shared by all its handles.

#include <dmasync/detail/base/intrusive_list.hpp>
#include <dmasync/detail/kernel/cpu_bracket.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

struct domain_state;
struct buffer_state;
struct all_tag;

/// Finds a buffer by its memory. Its nodes are made before and freed after the lock is held.
using buffer_registry = std::map<memory_identity, buffer_state*>;

/// A buffer of a domain: the policy's part of it, its memory, and what keeps it alive.
///
/// It dies when no handle, no holder, no waiter and no expired hold is left. The last handle is dropped under the
/// domain's lock, so that an import can find a buffer again that only its holders keep alive.
struct buffer_state : buffer_node, list_hook<all_tag> {
    buffer_state(domain_state& d, const admission& policy, memory_object m, name n) noexcept
        : buffer_node{policy, m.is_dma_buf()}, domain{&d}, memory{std::move(m)}, label{n} {}
    buffer_state(const buffer_state&) = delete;
    buffer_state& operator=(const buffer_state&) = delete;
    ~buffer_state() {
        if (is_dma_buf()) { bracket.close(memory.fd.get()); }
    }

    /// Whether nothing refers to it but, perhaps, a registry. Under the domain's lock.
    [[nodiscard]] bool is_dead() const noexcept { return (state & ~(closed | dma_buf)) == orphan && pins == 0; }

    [[nodiscard]] bool is_dma_buf() const noexcept { return memory.is_dma_buf(); }

    domain_state* domain;             // fixed
    atomic<std::uint32_t> handles{1}; // reaches and leaves 0 under the domain's lock only
    std::uint32_t pins = 0;           // expired holds whose guard may still point into the memory
    buffer_registry::node_type node;  // while it is not in the registry
    const memory_object memory;
    const name label;
    cpu_bracket bracket;               // of a dma-buf
    buffer_state* next_dead = nullptr; // links those that are about to be freed
};

} // namespace dmasync::inline DMASYNC_ABI::detail
