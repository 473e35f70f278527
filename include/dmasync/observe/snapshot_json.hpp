// SPDX-License-Identifier: MIT
#pragma once
/// \file snapshot_json.hpp  A snapshot as programs read it.

#include <dmasync/detail/base/json_writer.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

inline void write_counters(json_writer& j, const domain_counters& c) {
    j.key("counters").begin_object();
    j.key("locks").number(c.locks());
    j.key("granted_at_once").number(c.granted_at_once);
    j.key("granted_after_wait").number(c.granted_after_wait);
    j.key("contended").number(c.contended);
    j.key("stuck").number(c.stuck);
    j.key("timed_out").number(c.timed_out);
    j.key("cancelled").number(c.cancelled);
    j.key("leases_expired").number(c.leases_expired);
    j.key("wounds").number(c.wounds);
    j.key("deaths").number(c.deaths);
    j.key("retries").number(c.retries);
    j.key("fences_waited").number(c.fences_waited);
    j.key("devices_overdue").number(c.devices_overdue);
    j.key("devices_failed").number(c.devices_failed);
    j.key("brackets_told").number(c.brackets_told);
    j.key("brackets_saved").number(c.brackets_saved());
    j.end_object();
}

inline void write_uses(json_writer& j, const char* key, const std::vector<domain_snapshot::use>& uses) {
    j.key(key).begin_array();
    for (const domain_snapshot::use& u : uses) {
        j.begin_object();
        j.key("acquisition").number(u.acquisition);
        j.key("access").string(to_string(u.mode));
        j.end_object();
    }
    j.end_array();
}

inline void write_buffer(json_writer& j, const domain_snapshot::buffer& b) {
    j.begin_object();
    j.key("name").string(b.name.view());
    j.key("size").number(b.size);
    j.key("memory").string(to_string(b.memory));
    j.key("device").number(b.device);
    j.key("inode").number(b.inode);
    j.key("token").number(b.token);
    j.key("last_access");
    b.last_access ? j.string(to_string(*b.last_access)) : j.null();
    j.key("closed").boolean(b.closed);
    j.key("fences_before_read").number(b.fences_before_read);
    j.key("fences_before_write").number(b.fences_before_write);
    write_uses(j, "holders", b.holders);
    write_uses(j, "waiters", b.waiters);
    write_uses(j, "losers", b.losers);
    j.end_object();
}

inline void write_time(json_writer& j, const char* key, std::optional<std::chrono::nanoseconds> t) {
    j.key(key);
    t&&* t != no_lease ? j.number(static_cast<std::int64_t>(t->count())) : j.null();
}

inline void write_acquisition(json_writer& j, const domain_snapshot::acquisition& a) {
    j.begin_object();
    j.key("set").string(a.set.view());
    j.key("state").string(to_string(a.state));
    write_time(j, "age_ns", a.age);
    write_time(j, "lease_ns", a.lease);
    write_time(j, "lease_left_ns", a.lease_left);
    j.key("ticket");
    a.ticket ? j.number(*a.ticket) : j.null();
    j.key("transaction");
    a.transaction ? j.number(*a.transaction) : j.null();
    j.key("wounded").boolean(a.wounded);
    j.key("stuck").boolean(a.stuck);
    j.key("blocks_thread").boolean(a.blocks_thread);
    j.key("file").string(a.place.file_name());
    j.key("line").number(std::uint64_t{a.place.line()});
    j.key("function").string(a.place.function_name());
    j.key("user").number(reinterpret_cast<std::uintptr_t>(a.user));
    j.key("parts").begin_array();
    for (const domain_snapshot::part& p : a.parts) {
        j.begin_object();
        j.key("buffer").number(p.buffer);
        j.key("access").string(to_string(p.mode));
        j.end_object();
    }
    j.end_array();
    j.key("waits_for").begin_array();
    for (const std::size_t other : a.waits_for) { j.number(other); }
    j.end_array();
    j.end_object();
}

} // namespace detail

/// A snapshot as one line of JSON without a newline: the fields of `domain_snapshot` by their names, times in
/// nanoseconds, what is unknown or without an end as null. Valid whatever the names contain: bytes that are no UTF-8
/// become U+FFFD.
[[nodiscard]] inline std::string to_json(const domain_snapshot& s) {
    detail::json_writer j;
    j.begin_object();
    j.key("domain").string(s.domain.view());
    detail::write_counters(j, s.counters);
    j.key("buffers").begin_array();
    for (const domain_snapshot::buffer& b : s.buffers) { detail::write_buffer(j, b); }
    j.end_array();
    j.key("acquisitions").begin_array();
    for (const domain_snapshot::acquisition& a : s.acquisitions) { detail::write_acquisition(j, a); }
    j.end_array();
    j.end_object();
    return j.take();
}

} // namespace dmasync::inline DMASYNC_ABI
