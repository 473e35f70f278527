// SPDX-License-Identifier: MIT
#pragma once
/// \file results.hpp  What a run leaves: a video and, if it is asked for, a contact sheet.

#include "contact_sheet.hpp"
#include "output_file.hpp"
#include "video_format.hpp"
#include "y4m.hpp"

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace pipeline {

/// Both files are opened before the work: what cannot be written is known before it is made.
class results {
public:
    /// No name of a contact sheet, no contact sheet. Errors: as output_file and y4m_writer.
    results(const std::string& video, const std::string& sheet, const video_format& format, std::stop_token stop);

    [[nodiscard]] y4m_writer& video() noexcept { return video_; }
    [[nodiscard]] contact_sheet* sheet() noexcept { return sheet_ ? &*sheet_ : nullptr; }

    /// Completes the video, then the contact sheet. Throws what went wrong, as std::exception; its message says so when
    /// the video is complete all the same.
    void commit();

    /// What there is of the video now, should this be the end: "nothing was written", say.
    [[nodiscard]] std::string outcome() const;

private:
    std::stop_token stop_;
    output_file video_file_;
    std::unique_ptr<output_file> sheet_file_; // empty without a contact sheet
    y4m_writer video_;                        // after both files: its header is the first that is written
    std::optional<contact_sheet> sheet_;      // like its file
};

} // namespace pipeline
