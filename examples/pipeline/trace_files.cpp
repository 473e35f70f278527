// SPDX-License-Identifier: MIT
#include "trace_files.hpp"

#include "fd_io.hpp"

#include <dmasync/observe/trace_timeline.hpp>
#include <dmasync/observe/trace_timeline_html.hpp>
#include <dmasync/observe/trace_timeline_json.hpp>

#include <cstddef>
#include <exception>
#include <span>

namespace pipeline {

bool is_name_of_trace(std::string_view name) noexcept { return name.ends_with(".html") || name.ends_with(".json"); }

trace_files::trace_files(const std::vector<std::string>& names, const std::stop_token& stop) : stop_{stop} {
    if (!names.empty()) { recorder_.emplace(dmasync::trace_options{.records = 1U << 16U, .threads = 4}); }
    for (const std::string& name : names) { files_.push_back(std::make_unique<output_file>(name, stop)); }
}

void trace_files::write(output_file& file, const std::stop_token& stop) {
    const dmasync::trace_timeline all{recorder_->collect()};
    const std::string text = file.name().ends_with(".json") ? dmasync::to_trace_json(all)
                                                            : dmasync::to_html(all, "the frames of the video pipeline");
    write_all(file.fd(), std::as_bytes(std::span{text}), file.name(), stop);
    file.commit();
}

void trace_files::commit() {
    for (const auto& file : files_) { write(*file, stop_); }
}

void trace_files::commit_after_failure() noexcept {
    for (const auto& file : files_) {
        try {
            if (!file->is_direct()) { write(*file, {}); }
        } catch (const std::exception&) {} // the failure of the run is what is reported
    }
}

} // namespace pipeline
