#include "jpeg_file.h"

#include <csetjmp>
#include <cstdio>
// jpeglib.h needs FILE and size_t.
#include <jpeglib.h>
// jerror.h needs jpeglib.h.
#include <jerror.h>

#include <string>

#include "failure.h"
#include "limits.h"

namespace effnet {
namespace {

struct Errors {
    jpeg_error_mgr base;
    std::jmp_buf back;
    char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
    auto* errors = reinterpret_cast<Errors*>(info->err);
    errors->base.format_message(info, errors->message);
    std::longjmp(errors->back, 1);
}

/// A file that ends early is an error, as it is for Pillow; other warnings are borne.
void warn(j_common_ptr info, int /*level*/) {
    if (info->err->msg_code == JWRN_JPEG_EOF) leave(info);
}

class Decompress {
  public:
    Decompress() {
        info_.err = jpeg_std_error(&errors_.base);
        errors_.base.error_exit = leave;
        errors_.base.emit_message = warn;
        errors_.message[0] = '\0';
    }
    ~Decompress() { jpeg_destroy_decompress(&info_); }
    Decompress(const Decompress&) = delete;
    Decompress& operator=(const Decompress&) = delete;

    /// False where libjpeg gives up; `message()` is then its reason. Like `pixels` it holds nothing
    /// that a jump out of libjpeg would leave behind.
    bool header(const std::vector<std::uint8_t>& bytes) {
        if (setjmp(errors_.back) != 0) return false;
        jpeg_create_decompress(&info_);
        jpeg_mem_src(&info_, bytes.data(), static_cast<unsigned long>(bytes.size()));
        jpeg_read_header(&info_, TRUE);
        return true;
    }

    /// Rows of `components()` bytes a pixel into `rows`.
    bool pixels(std::vector<std::uint8_t>& rows) {
        if (setjmp(errors_.back) != 0) return false;
        const int components = info_.num_components;
        info_.out_color_space = components == 1   ? JCS_GRAYSCALE
                                : components == 3 ? JCS_RGB
                                                  : JCS_CMYK;
        jpeg_start_decompress(&info_);
        const std::size_t row_bytes =
            std::size_t{info_.output_width} * static_cast<std::size_t>(info_.output_components);
        rows.resize(row_bytes * info_.output_height);
        while (info_.output_scanline < info_.output_height) {
            JSAMPROW row = rows.data() + row_bytes * info_.output_scanline;
            jpeg_read_scanlines(&info_, &row, 1);
        }
        jpeg_finish_decompress(&info_);
        return true;
    }

    unsigned width() const { return info_.image_width; }
    unsigned height() const { return info_.image_height; }
    int components() const { return info_.num_components; }
    std::string message() const { return errors_.message; }

  private:
    jpeg_decompress_struct info_{};
    Errors errors_{};
};

/// a * b / 255, rounded as Pillow does it.
int times(int a, int b) {
    const int product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

/// `inverted` is 255 minus cyan, magenta, yellow and black.
void to_rgb(const std::uint8_t* inverted, std::uint8_t* rgb) {
    const int white = inverted[3];
    for (int c = 0; c < 3; ++c) {
        const int value = white - times(255 - inverted[c], white);
        rgb[c] = static_cast<std::uint8_t>(value < 0 ? 0 : value);
    }
}

}  // namespace

Image decode_jpeg(const std::vector<std::uint8_t>& bytes) {
    Decompress decompress;
    std::vector<std::uint8_t> rows;
    if (!decompress.header(bytes)) throw UnreadableImage(decompress.message());
    check_pixels(decompress.width(), decompress.height());
    const int components = decompress.components();
    if (components != 1 && components != 3 && components != 4) {
        throw UnreadableImage("a JPEG of " + std::to_string(components) + " components");
    }
    if (!decompress.pixels(rows)) throw UnreadableImage(decompress.message());

    const int width = static_cast<int>(decompress.width());
    const int height = static_cast<int>(decompress.height());
    if (components == 3) return {width, height, std::move(rows)};
    Image image = make_image(width, height);
    const std::size_t pixels = image.rgb.size() / 3;
    for (std::size_t i = 0; i < pixels; ++i) {
        std::uint8_t* rgb = image.rgb.data() + 3 * i;
        if (components == 1) {
            rgb[0] = rgb[1] = rgb[2] = rows[i];
        } else {
            to_rgb(rows.data() + 4 * i, rgb);
        }
    }
    return image;
}

}  // namespace effnet
