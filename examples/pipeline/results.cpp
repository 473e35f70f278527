// SPDX-License-Identifier: MIT
#include "results.hpp"

#include "fd_io.hpp"

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

namespace pipeline {

results::results(const std::string& video, const std::string& sheet, const video_format& format, std::stop_token stop)
    : stop_{std::move(stop)},
      video_file_{video, stop_},
      sheet_file_{sheet.empty() ? nullptr : std::make_unique<output_file>(sheet, stop_)},
      video_{video_file_.fd(), video_file_.name(), format, stop_} {
    if (sheet_file_) { sheet_.emplace(format); }
}

void results::commit() {
    std::vector<std::byte> picture;
    if (sheet_) { picture = sheet_->draw().to_png(); }
    video_file_.commit();
    if (!sheet_) { return; }
    try {
        write_all(sheet_file_->fd(), picture, sheet_file_->name(), stop_);
        sheet_file_->commit();
    } catch (const std::system_error& error) { throw std::runtime_error{std::string{error.what()} + "; " + outcome()}; }
}

std::string results::outcome() const {
    if (video_file_.is_complete()) { return "the video " + video_file_.name() + " is complete"; }
    return video_file_.is_direct() ? video_file_.name() + " is incomplete" : "nothing was written";
}

} // namespace pipeline
