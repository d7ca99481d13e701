// Runs PixelMed's DicomSRValidator over many files in one process: compiling its rules takes most of the time.
// java -cp pixelmed.jar ValidateReports.java FILE...
import com.pixelmed.validate.DicomSRValidator;

public class ValidateReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("FILE " + file);
            System.out.println(validator.validate(file, false, true, false, true, true));
        }
    }
}
