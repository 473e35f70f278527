// SPDX-License-Identifier: MIT
#pragma once
/// \file snapshot.hpp  What is held in a domain, and what waits for what, at one moment.
///
///     std::fputs(to_text(media.snapshot()).c_str(), stderr);                  // snapshot_text.hpp
///     file << to_json(media.snapshot());                                      // snapshot_json.hpp

#include <dmasync/access_mode.hpp>
#include <dmasync/call_site.hpp>
#include <dmasync/detail/observe/snapshot_builder.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/version.hpp>

namespace dmasync::inline DMASYNC_ABI {

inline domain_snapshot domain::snapshot() const { return detail::snapshot_builder{*state_}.look(); }

} // namespace dmasync::inline DMASYNC_ABI
