#include "png_file.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <string>

#include "failure.h"
#include "limits.h"

namespace effnet {
namespace {

class Reader {
  public:
    explicit Reader(const std::vector<std::uint8_t>& bytes) : bytes_(bytes) {
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, leave, ignore);
        if (png_ != nullptr) info_ = png_create_info_struct(png_);
    }
    ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    /// False where libpng gives up; `message()` is then its reason. Like `pixels` it holds nothing
    /// that a jump out of libpng would leave behind.
    bool header() {
        if (info_ == nullptr || setjmp(back_) != 0) return false;
        png_set_read_fn(png_, this, read);
        png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
        png_read_info(png_, info_);
        return true;
    }

    /// 8-bit RGB into `rows`, which has a pointer for each row.
    bool pixels(std::vector<std::uint8_t*>& rows) {
        if (setjmp(back_) != 0) return false;
        const int colour = png_get_color_type(png_, info_);
        png_set_strip_16(png_);
        if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
        if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
        if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
        png_set_strip_alpha(png_);
        png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        if (png_get_rowbytes(png_, info_) != std::size_t{width()} * 3) {
            png_error(png_, "rows are not RGB");
        }
        png_read_image(png_, rows.data());
        return true;
    }

    png_uint_32 width() const { return png_get_image_width(png_, info_); }
    png_uint_32 height() const { return png_get_image_height(png_, info_); }
    const std::string& message() const { return message_; }

  private:
    [[noreturn]] static void leave(png_structp png, png_const_charp message) {
        auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
        reader->message_ = message;
        std::longjmp(reader->back_, 1);
    }

    static void ignore(png_structp, png_const_charp) {}

    static void read(png_structp png, png_bytep out, std::size_t length) {
        auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
        if (length > reader->bytes_.size() - reader->at_) png_error(png, "the file ends early");
        std::copy_n(reader->bytes_.data() + reader->at_, length, out);
        reader->at_ += length;
    }

    const std::vector<std::uint8_t>& bytes_;
    std::size_t at_ = 0;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
    std::jmp_buf back_{};
    std::string message_ = "libpng cannot start";
};

}  // namespace

Image decode_png(const std::vector<std::uint8_t>& bytes) {
    Reader reader(bytes);
    if (!reader.header()) throw UnreadableImage(reader.message());
    check_pixels(reader.width(), reader.height());
    Image image = make_image(static_cast<int>(reader.width()), static_cast<int>(reader.height()));
    std::vector<std::uint8_t*> rows;
    for (int y = 0; y < image.height; ++y) rows.push_back(image.row(y));
    if (!reader.pixels(rows)) throw UnreadableImage(reader.message());
    return image;
}

}  // namespace effnet
