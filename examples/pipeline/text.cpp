// SPDX-License-Identifier: MIT
#include "text.hpp"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <stdexcept>

namespace pipeline {
namespace {

/// The font, once for each thread: FreeType's objects must not be shared.
class font {
public:
    font() {
        if (FT_Init_FreeType(&library_) != 0) { throw std::runtime_error{"FreeType does not start"}; }
        if (FT_New_Face(library_, PIPELINE_FONT, 0, &face_) != 0) {
            FT_Done_FreeType(library_);
            throw std::runtime_error{"cannot read the font " PIPELINE_FONT};
        }
    }
    font(const font&) = delete;
    font& operator=(const font&) = delete;
    ~font() {
        FT_Done_Face(face_);
        FT_Done_FreeType(library_);
    }

    void set_size(std::size_t size) {
        FT_Set_Pixel_Sizes(face_, 0, static_cast<FT_UInt>(std::max<std::size_t>(size, 1)));
    }
    [[nodiscard]] long ascent() const noexcept { return (face_->size->metrics.ascender + 63) / 64; }
    [[nodiscard]] long descent() const noexcept { return (63 - face_->size->metrics.descender) / 64; }

    /// Calls `use(slot, pen)` for each glyph, with the pen's place in pixels; returns where the pen is in the end.
    template <class Use>
    long for_each_glyph(std::string_view text, int flags, Use use) const {
        long pen = 0;
        for (const char character : text) {
            if (FT_Load_Char(face_, static_cast<unsigned char>(character), flags | FT_LOAD_TARGET_LIGHT) != 0) {
                continue;
            }
            use(*face_->glyph, pen / 64);
            pen += face_->glyph->advance.x;
        }
        return (pen + 63) / 64;
    }

private:
    FT_Library library_ = nullptr;
    FT_Face face_ = nullptr;
};

font& font_of(std::size_t size) {
    thread_local font face;
    face.set_size(size);
    return face;
}

/// Adds a glyph to the mask; clipped to it.
void add(text_mask& mask, const FT_GlyphSlotRec& glyph, long left, long top) {
    for (long y = 0; y < static_cast<long>(glyph.bitmap.rows); ++y) {
        for (long x = 0; x < static_cast<long>(glyph.bitmap.width); ++x) {
            const long to_x = left + x;
            const long to_y = top + y;
            if (to_x < 0 || to_y < 0 || to_x >= static_cast<long>(mask.width) ||
                to_y >= static_cast<long>(mask.height)) {
                continue;
            }
            std::uint8_t& to =
                mask.coverage[static_cast<std::size_t>(to_y) * mask.width + static_cast<std::size_t>(to_x)];
            to = std::max(to, glyph.bitmap.buffer[y * glyph.bitmap.pitch + x]);
        }
    }
}

} // namespace

text_mask render_text(std::string_view text, std::size_t size) {
    text_mask mask{.width = text_width(text, size), .height = text_height(size)};
    mask.coverage.resize(mask.width * mask.height);
    font& face = font_of(size);
    const long baseline = face.ascent();
    face.for_each_glyph(text, FT_LOAD_RENDER, [&](const FT_GlyphSlotRec& glyph, long pen) {
        add(mask, glyph, pen + glyph.bitmap_left, baseline - glyph.bitmap_top);
    });
    return mask;
}

std::size_t text_width(std::string_view text, std::size_t size) {
    return static_cast<std::size_t>(font_of(size).for_each_glyph(text, FT_LOAD_DEFAULT, [](const auto&, long) {}));
}

std::size_t text_height(std::size_t size) {
    const font& face = font_of(size);
    return static_cast<std::size_t>(face.ascent() + face.descent());
}

} // namespace pipeline
