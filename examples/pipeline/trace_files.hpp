// SPDX-License-Identifier: MIT
#pragma once
/// \file trace_files.hpp  A timeline of all locks, where it is asked for: as a page, or for Perfetto.

#include "output_file.hpp"

#include <dmasync/observe/trace.hpp>

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace pipeline {

/// Whether a trace can be written to a file of this name: .html is a page, .json for ui.perfetto.dev.
[[nodiscard]] bool is_name_of_trace(std::string_view name) noexcept;

/// The files are opened before the work, as the other results.
class trace_files {
public:
    /// No names, no trace. Errors: as output_file.
    trace_files(const std::vector<std::string>& names, const std::stop_token& stop);

    /// The recorder for the domain; null without a trace. Lives as long as this.
    [[nodiscard]] dmasync::trace_recorder* recorder() noexcept { return recorder_ ? &*recorder_ : nullptr; }

    /// Writes what there is. Throws std::system_error.
    void commit();

    /// The same when the run has failed, where it is of most use; but nothing is waited for. What goes wrong now does not
    /// matter any more.
    void commit_after_failure() noexcept;

private:
    void write(output_file& file, const std::stop_token& stop);

    std::stop_token stop_;
    std::optional<dmasync::trace_recorder> recorder_;
    std::vector<std::unique_ptr<output_file>> files_;
};

} // namespace pipeline
