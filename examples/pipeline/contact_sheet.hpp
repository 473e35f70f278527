// SPDX-License-Identifier: MIT
#pragma once
/// \file contact_sheet.hpp  One picture to judge a whole run by: frames as they came in beside frames as they went out.

#include "image.hpp"
#include "video_format.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pipeline {

/// Keeps frames spread evenly over a video whose length is not known yet. Threads: one at a time.
class contact_sheet {
public:
    explicit contact_sheet(const video_format& format);

    /// Whether add() would keep this frame; cheap.
    [[nodiscard]] bool wants(std::uint64_t number) const noexcept { return number % stride_ == 0; }

    /// Frames come in the order of their numbers.
    void add(std::uint64_t number, std::span<const std::byte> source, std::span<const std::byte> result);

    /// The picture of all that was added.
    [[nodiscard]] image draw() const;

private:
    struct pair {
        std::uint64_t number;
        image source;
        image result;
    };

    struct layout { // in pixels
        std::size_t source_width = 0;
        std::size_t result_width = 0;
        std::size_t pair_width = 0;
        std::size_t sheet_width = 0;
    };

    void thin_out();
    [[nodiscard]] std::vector<const pair*> selection() const;
    [[nodiscard]] std::string label(const pair& frames) const;
    [[nodiscard]] layout arrange(const std::vector<const pair*>& chosen) const;
    void draw_pair(image& sheet, std::size_t x, std::size_t result_x, std::size_t y, const pair& frames) const;

    video_format format_;
    image_size thumbnail_;
    std::vector<pair> pairs_; // invariant: the frames 0, stride_, 2 * stride_, ... so far
    std::uint64_t stride_ = 1;
    std::uint64_t frames_ = 0;
};

} // namespace pipeline
