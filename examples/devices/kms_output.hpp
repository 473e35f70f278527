// SPDX-License-Identifier: MIT
#pragma once
/// \file kms_output.hpp  A screen that shows one framebuffer after the other.

#include "drm_card.hpp"
#include "framebuffer.hpp"
#include "kms_blob.hpp"
#include "kms_pipe.hpp"
#include "kms_request.hpp"
#include "kms_snapshot.hpp"

#include <dmasync/unique_fd.hpp>

#include <cstdint>

namespace devices {

/// Takes over the first screen of the card that has this size. When it is destroyed, the screen shows what it did before,
/// and the card reads none of our framebuffers any more.
/// The card outlives it. Every call throws std::system_error.
class kms_output {
public:
    kms_output(const drm_card& card, std::uint32_t width, std::uint32_t height);
    kms_output(const kms_output&) = delete;
    kms_output& operator=(const kms_output&) = delete;
    ~kms_output();

    /// Shows a framebuffer from the next refresh of the screen on; does not wait for that. Only once flipped() has said
    /// that the one before is on the screen.
    /// Returns: a fence (sync_file). When it signals, this framebuffer has taken the place of the one that was shown
    /// before it: that one is no longer read. When this one is no longer read, the fence of the next show() tells.
    [[nodiscard]] dmasync::unique_fd show(const framebuffer& picture);

    /// Takes the card's events, which make its descriptor readable.
    /// Returns: whether the framebuffer given to show() is on the screen.
    [[nodiscard]] bool flipped();

private:
    void place(kms_request& request, const framebuffer& picture) const;
    void set_mode(kms_request& request) const;

    const drm_card& card_;
    kms_pipe pipe_;
    kms_snapshot before_;
    kms_blob mode_;
    std::uint32_t width_;
    std::uint32_t height_;
    bool mode_is_set_ = false;
    bool flip_is_pending_ = false; // cleared by the event
};

} // namespace devices
