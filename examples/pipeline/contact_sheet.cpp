// SPDX-License-Identifier: MIT
#include "contact_sheet.hpp"

#include "text.hpp"
#include "timestamp.hpp"

#include <algorithm>
#include <string>
#include <string_view>

namespace pipeline {
namespace {

constexpr std::size_t most_pairs = 12;
constexpr std::size_t kept_pairs = 4 * most_pairs; // thinned out to half when full: enough left to choose from evenly
constexpr std::size_t pairs_per_row = 2;           // four pictures
constexpr image_size thumbnail_box{360, 360};

constexpr std::size_t margin = 24;
constexpr std::size_t gap_in_pair = 4;
constexpr std::size_t heading_size = 26; // pixels to the em
constexpr std::size_t text_size = 15;
constexpr std::size_t text_line = 28;
constexpr std::size_t heading_height = 76;

constexpr rgb paper{24, 26, 30};
constexpr rgb bright_ink{236, 236, 236};
constexpr rgb dim_ink{150, 156, 166};

constexpr std::string_view heading = "dmasync pipeline";

std::size_t pixel_width(std::string_view text) { return text_width(text, text_size); }

std::string describe(const video_format& format, std::uint64_t frames) {
    return std::to_string(frames) + " frames, " + std::to_string(format.width) + " x " + std::to_string(format.height);
}

} // namespace

contact_sheet::contact_sheet(const video_format& format) : format_{format}, thumbnail_{fit(format, thumbnail_box)} {}

void contact_sheet::add(std::uint64_t number, std::span<const std::byte> source, std::span<const std::byte> result) {
    frames_ = number + 1;
    if (wants(number) && pairs_.size() == kept_pairs) { thin_out(); }
    if (!wants(number)) { return; }
    pairs_.push_back(
        {number, make_thumbnail(format_, source, thumbnail_), make_thumbnail(format_, result, thumbnail_)});
}

void contact_sheet::thin_out() {
    stride_ *= 2;
    std::erase_if(pairs_, [this](const pair& frames) { return !wants(frames.number); });
}

/// At most most_pairs, evenly spread from the first to the last one kept.
std::vector<const contact_sheet::pair*> contact_sheet::selection() const {
    const std::size_t count = std::min(pairs_.size(), most_pairs);
    std::vector<const pair*> chosen;
    for (std::size_t i = 0; i < count; ++i) {
        chosen.push_back(&pairs_[count == 1 ? 0 : i * (pairs_.size() - 1) / (count - 1)]);
    }
    return chosen;
}

std::string contact_sheet::label(const pair& frames) const {
    return timestamp(frames.number, format_.frame_rate) + "  source ";
}

/// A cell has room for its picture and for the text below it.
contact_sheet::layout contact_sheet::arrange(const std::vector<const pair*>& chosen) const {
    const std::string description = describe(format_, frames_);
    layout cells{.source_width = thumbnail_.width, .result_width = std::max(thumbnail_.width, pixel_width("result"))};
    for (const pair* frames : chosen) {
        cells.source_width = std::max(cells.source_width, pixel_width(label(*frames)));
    }
    cells.pair_width = cells.source_width + gap_in_pair + cells.result_width;
    const std::size_t text = std::max(text_width(heading, heading_size), pixel_width(description));
    cells.sheet_width = margin + std::max(text + margin, pairs_per_row * (cells.pair_width + margin));
    return cells;
}

image contact_sheet::draw() const {
    const std::vector<const pair*> chosen = selection();
    const layout cells = arrange(chosen);
    const std::size_t row_height = thumbnail_.height + text_line + margin / 2;
    const std::size_t rows = (chosen.size() + pairs_per_row - 1) / pairs_per_row;
    image sheet{cells.sheet_width, 2 * margin + heading_height + rows * row_height, paper};
    sheet.draw_text(margin, margin - 4, heading_size, heading, bright_ink);
    sheet.draw_text(margin, margin + 34, text_size, describe(format_, frames_), dim_ink);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        const std::size_t x = margin + i % pairs_per_row * (cells.pair_width + margin);
        const std::size_t y = margin + heading_height + i / pairs_per_row * row_height;
        draw_pair(sheet, x, x + cells.source_width + gap_in_pair, y, *chosen[i]);
    }
    return sheet;
}

void contact_sheet::draw_pair(image& sheet, std::size_t x, std::size_t result_x, std::size_t y,
                              const pair& frames) const {
    const std::size_t text_y = y + thumbnail_.height + 6;
    sheet.draw(x, y, frames.source);
    sheet.draw(result_x, y, frames.result);
    sheet.draw_text(x, text_y, text_size, label(frames), dim_ink);
    sheet.draw_text(result_x, text_y, text_size, "result", dim_ink);
}

} // namespace pipeline
