// SPDX-License-Identifier: MIT
#include "session.hpp"

#include "picture.hpp"

#include <drm_fourcc.h>

#include <string>
#include <utility>

namespace camera_to_display {
namespace {

shared_picture make_picture(const devices::drm_card& card, dmasync::domain& media, const std::string& name) {
    devices::dumb_buffer memory{card, picture_width, picture_height};
    devices::framebuffer framebuffer{card, memory, picture_width, picture_height, DRM_FORMAT_XRGB8888};
    dmasync::buffer buffer = media.import(memory.export_dma_buf(), std::string_view{name});
    return {std::move(memory), std::move(framebuffer), std::move(buffer)};
}

} // namespace

session::session(dmasync::event_loop& l, const devices::drm_card& c, const session_settings& how,
                 std::stop_token on_stop)
    : loop{l}, card{c}, wanted{how}, stop{std::move(on_stop)} {
    pictures.reserve(picture_count);
    for (std::size_t i = 0; i < picture_count; ++i) {
        pictures.push_back(make_picture(card, media, "picture " + std::to_string(i)));
        static_cast<void>(idle.try_send(i));
    }
}

} // namespace camera_to_display
